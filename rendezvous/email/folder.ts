import type { ImapFlow } from 'imapflow'
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
/** The highest UID that there can be (RFC 9051, 2.3.1.1). */
const LAST_UID = '4294967295'
/** Octets of the largest mail that is opened: four times what the DHT takes, in base64. */
const MAX_MAIL = 131_072
/** A mail that has expired is removed this much later, in ms: clocks may be off by it. */
export const GRACE = 3_600_000

/** Mails of ours that lie in a folder and were neither delivered nor removed, and how far it was looked through. */
export class Folder {
  readonly path: string
  readonly #waiting = new Map<number, Label>()
  #position: Position | undefined

  constructor(path: string, position: Position | undefined) {
    this.path = path
    this.#position = position
  }

  /** From where a later program has to look: everything that still waits is above it. */
  get position(): Position | undefined {
    if (!this.#position) return undefined
    const next = Math.min(this.#position.next, ...this.#waiting.keys())
    return { ...this.#position, next }
  }

  /**
   * Looks at what has come since the last time, by its subject alone. The folder is the selected one.
   * @param date ms since 1970-01-01 UTC
   */
  async look(client: ImapFlow, date: number): Promise<void> {
    const { mailbox } = client
    if (!mailbox) throw new Error('the folder is closed')
    const validity = String(mailbox.uidValidity)
    if (this.#position?.validity !== validity) {
      this.#waiting.clear()
      this.#position = { validity, next: await recent(client, mailbox.exists, date) }
    }
    for (;;) {
      const next: number = this.#position.next
      // not `*`: to that the last mail answers even where it is below `next`
      const to: string = next + BATCH < mailbox.uidNext ? String(next + BATCH - 1) : LAST_UID
      let highest = next - 1
      for await (const { uid, headers } of client.fetch(
        `${next}:${to}`,
        { uid: true, headers: ['subject'] },
        { uid: true },
      )) {
        if (uid < next) continue
        highest = Math.max(highest, uid)
        const label = labelOf(headers?.toString('latin1') ?? '')
        if (label) this.#waiting.set(uid, label)
      }
      this.#position = { validity, next: to === LAST_UID ? highest + 1 : next + BATCH }
      if (to === LAST_UID) return
    }
  }

  /** The UIDs of what waits for which this holds. */
  which(holds: (label: Label) => boolean): number[] {
    return [...this.#waiting].filter(([, label]) => holds(label)).map(([uid]) => uid)
  }

  /** Opens mails: each with what was sealed, or nothing if it holds nothing; what is gone is forgotten. */
  async open(
    client: ImapFlow,
    uids: readonly number[],
  ): Promise<{ uid: number; label: Label; sealed?: Buffer }[]> {
    if (uids.length === 0) return []
    const found: { uid: number; label: Label; sealed?: Buffer }[] = []
    const query = { uid: true, source: { maxLength: MAX_MAIL } }
    for await (const { uid, source } of client.fetch(uids.join(','), query, { uid: true })) {
      const label = this.#waiting.get(uid)
      const sealed = readMail(source?.toString('latin1') ?? '')
      if (label) found.push({ uid, label, ...(sealed ? { sealed } : {}) })
    }
    for (const uid of uids) this.#waiting.delete(uid)
    return found
  }

  /** Removes mails of ours; other mail that somebody has marked for removal stays. */
  async remove(client: ImapFlow, uids: readonly number[]): Promise<void> {
    for (const uid of uids) this.#waiting.delete(uid)
    if (uids.length === 0) return
    // without UID EXPUNGE (RFC 4315) an EXPUNGE would take what others have marked
    if (client.capabilities.has('UIDPLUS')) await client.messageDelete(uids.join(','), { uid: true })
    else await client.messageFlagsAdd(uids.join(','), ['\\Deleted'], { uid: true })
  }
}

/** The UID of the first mail that came in the last RECENT ms, found from the end: what is older costs nothing. */
async function recent(client: ImapFlow, exists: number, date: number): Promise<number> {
  let first = Number.POSITIVE_INFINITY
  let chunk = FIRST_LOOK
  for (let end = exists; end > 0 && exists - end < LONGEST_LOOK; chunk *= 2) {
    const dates: number[] = []
    const range = `${Math.max(1, end - chunk + 1)}:${end}`
    for await (const { uid, internalDate } of client.fetch(range, { uid: true, internalDate: true })) {
      first = Math.min(first, uid)
      dates.push(new Date(internalDate ?? 0).getTime())
    }
    if (dates.length === 0 || Math.max(...dates) < date - RECENT) break
    end -= chunk
  }
  return Number.isFinite(first) ? first : 1
}
