import { forgetOldest } from '../forget-oldest.js'
import type { Connection } from './connection.js'
import { type Label, labelOf, readMail } from './message.js'
import type { Position } from './position.js'

/** How far back a folder is looked through that was never looked at before, by its server's INTERNALDATE, in ms. */
const RECENT = 2 * 3_600_000
/** Mails whose arrival is asked for in one go while looking back, at first; doubled each time. */
const FIRST_LOOK = 32
/** The most that are looked through so: a mailbox that takes more in RECENT is no place for a pairing. */
const LONGEST_LOOK = 8192
/** UIDs whose subjects are fetched in one go. */
const BATCH = 1000
/** Octets of the largest mail that is opened: the largest message as a gateway may write it anew, in quoted-printable. */
const MAX_MAIL = 262_144
/** Mails of ours that are kept in mind; whoever fills a mailbox with more makes the oldest be forgotten. */
const MAX_WAITING = 4096
/** A mail that has expired is removed this much later, in ms: clocks may be off by it. */
export const GRACE = 3_600_000

/** A mail that is ours: its subject says so, and it holds a message. */
export interface Opened {
  readonly uid: number
  readonly label: Label
  readonly sealed: Buffer
}

/** Mails of ours that lie in a folder and were neither delivered nor removed, and how far it was looked through. */
export class Folder {
  readonly path: string
  readonly #waiting = new Map<number, Label>()
  /** What is to be removed, and was not yet for certain: a lost connection may have taken the command along. */
  readonly #spent = new Set<number>()
  #position: Position | undefined

  constructor(path: string, position: Position | undefined) {
    this.path = path
    this.#position = position
  }

  /** From where a later program has to look: everything that still waits, or is still to be removed, is above it. */
  get position(): Position | undefined {
    if (!this.#position) return undefined
    const next = Math.min(this.#position.next, ...this.#waiting.keys(), ...this.#spent)
    return { ...this.#position, next }
  }

  /**
   * Looks at what has come since the last time, by its subject alone. The folder is the selected one.
   * @param date ms since 1970-01-01 UTC
   */
  async look(connection: Connection, date: number): Promise<void> {
    const { mailbox } = connection.client
    if (!mailbox) throw new Error('the folder is closed')
    const validity = String(mailbox.uidValidity)
    if (this.#position?.validity !== validity) {
      this.#waiting.clear()
      this.#spent.clear()
      this.#position = { validity, next: await recent(connection, mailbox.exists, date) }
    }
    for (;;) {
      const next: number = this.#position.next
      // to `*` the last mail answers even where it is below `next`; but the highest UID that can be is more than some servers count
      const to: string = next + BATCH < mailbox.uidNext ? String(next + BATCH - 1) : '*'
      let highest = next - 1
      const query = { uid: true, headers: ['subject'] }
      for await (const { uid, headers } of connection.fetch(`${next}:${to}`, query)) {
        if (uid === undefined || uid < next || !headers) continue
        highest = Math.max(highest, uid)
        const label = labelOf(headers.toString('utf8'))
        if (label) this.#wait(uid, label)
      }
      this.#position = { validity, next: to === '*' ? highest + 1 : next + BATCH }
      if (to === '*') return
    }
  }

  #wait(uid: number, label: Label): void {
    this.#waiting.set(uid, label)
    forgetOldest(this.#waiting, MAX_WAITING)
  }

  /** The UIDs of what waits for which this holds. */
  which(holds: (label: Label) => boolean): number[] {
    return [...this.#waiting].filter(([, label]) => holds(label)).map(([uid]) => uid)
  }

  /**
   * Opens mails that may be ours by their subjects, without a mark on them. Only those that are ours by their structure are
   * given; the others are forgotten, and so is what is gone.
   */
  async open(connection: Connection, uids: readonly number[]): Promise<readonly Opened[]> {
    if (uids.length === 0) return []
    const sources: { readonly uid: number; readonly label: Label; readonly source: Buffer }[] = []
    const query = { uid: true, source: { maxLength: MAX_MAIL + 1 } }
    for await (const { uid, source } of connection.fetch(uids.join(','), query)) {
      const label = uid === undefined ? undefined : this.#waiting.get(uid)
      if (uid !== undefined && label && source && source.length <= MAX_MAIL)
        sources.push({ uid, label, source })
    }
    for (const uid of uids) this.#waiting.delete(uid)
    const opened: Opened[] = []
    for (const { uid, label, source } of sources) {
      const sealed = await readMail(source, label)
      if (sealed) opened.push({ uid, label, sealed })
    }
    return opened
  }

  /**
   * Removes mails of ours that were opened, with those that could not be before; other mail that somebody has marked for removal
   * stays.
   */
  async remove(connection: Connection, opened: readonly { readonly uid: number }[]): Promise<void> {
    for (const { uid } of opened) this.#spent.add(uid)
    if (this.#spent.size === 0) return
    await connection.remove([...this.#spent].join(','))
    // a server that refuses will do so again; a connection that is lost is made again
    if (connection.client.usable) this.#spent.clear()
  }
}

/** The UID of the first mail that came in the last RECENT ms, found from the end: what is older costs nothing. */
export async function recent(connection: Connection, exists: number, date: number): Promise<number> {
  let first = Number.POSITIVE_INFINITY
  let chunk = FIRST_LOOK
  for (let end = exists; end > 0 && exists - end < LONGEST_LOOK; chunk *= 2) {
    const dates: number[] = []
    const range = `${Math.max(1, end - chunk + 1)}:${end}`
    const query = { uid: true, internalDate: true }
    for await (const { uid, internalDate } of connection.fetch(range, query, { uid: false })) {
      if (uid === undefined || !internalDate) continue
      first = Math.min(first, uid)
      dates.push(new Date(internalDate).getTime())
    }
    if (dates.length === 0 || Math.max(...dates) < date - RECENT) break
    end -= chunk
  }
  return Number.isFinite(first) ? first : 1
}
