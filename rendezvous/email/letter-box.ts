import { PlexusError } from '../../src/errors/index.js'
import { forgetOldest } from '../forget-oldest.js'
import { Inbox } from '../inbox.js'
import type { Letter, LetterHead, Letters, RendezvousContext } from '../interface.js'
import { abortable, type Scope, scope } from '../scope.js'
import type { Account } from './account.js'
import type { Connection } from './connection.js'
import { type Folder, recent } from './folder.js'
import { isAddress, type Mail } from './message.js'
import type { Position } from './position.js'

/** Octets of the largest mail that is opened: a plexus 3.x peer writes some 4 kB, and the way adds headers. */
const MAX_LETTER = 262_144
/** Octets of the largest header that can be of a letter: three lines, each of which fits RFC 5322. */
const MAX_HEADER = 4096
/** Outsides remembered of letters that were sent or taken. */
const MAX_REMEMBERED = 256
/** What of a header is looked at. */
const FIELDS = ['from', 'to', 'subject']

/** What a letter box needs of the rendezvous that it belongs to. */
export interface LetterBoxOwner {
  /** Somebody receives: the mailbox has to be watched, and looked at now. */
  begin(): void
  /** Somebody does so no longer. */
  left(): void
  /** Copies of letters may lie in other folders. */
  disturb(): void
  /** Resolves once the mailbox is watched. @throws why the login is refused, or the signal's reason */
  watching(signal: AbortSignal): Promise<void>
  /** Hands a mail in. */
  send(mail: Mail, signal: AbortSignal): Promise<void>
  /** Aborts when the rendezvous is closed. */
  readonly life: AbortSignal
}

/** Somebody who receives. */
interface Reader {
  readonly wanted: (head: LetterHead) => Promise<boolean>
  readonly urgent: boolean
  readonly ours: (letter: Letter) => Promise<boolean>
  readonly inbox: Inbox<Letter>
  /** How far each folder was looked through. */
  readonly positions: Map<string, Position>
  /** Resolves when the folder that messages come to was looked through for the first time. */
  readonly looked: Promise<void>
  readonly onlooked: () => void
}

/** A mail that was opened. */
interface Opened {
  readonly uid: number
  readonly letter: Letter
}

/** A mail by its outside. */
interface Found extends LetterHead {
  readonly uid: number
}

/**
 * The mails of other programs in the mailbox, on the one connection that the watch holds. How far a folder was looked
 * through is not kept across restarts: what came in the last hours is looked at again, and nothing before that.
 */
export class LetterBox implements Letters {
  readonly #account: Account
  readonly #context: RendezvousContext
  readonly #owner: LetterBoxOwner
  readonly #readers = new Set<Reader>()
  /** Letters that were sent or taken, by their outsides: copies of them are ours to remove. */
  readonly #done = new Map<string, (letter: Letter) => Promise<boolean>>()

  constructor(account: Account, context: RendezvousContext, owner: LetterBoxOwner) {
    this.#account = account
    this.#context = context
    this.#owner = owner
  }

  /** How many receive. */
  get size(): number {
    return this.#readers.size
  }

  /** Whether somebody waits for an answer now. */
  get urgent(): boolean {
    return [...this.#readers].some(({ urgent }) => urgent)
  }

  async post({ from, to, text }: Mail, { signal, ours }: Parameters<Letters['post']>[1]): Promise<void> {
    signal.throwIfAborted()
    this.#owner.life.throwIfAborted()
    for (const each of [from, to]) checkAddress(each)
    const own = scope(signal, this.#owner.life)
    if (ours) this.#remember(text.split('\r\n\r\n', 1)[0] ?? '', ours)
    try {
      await this.#owner.send({ from, to, text }, own.signal)
    } finally {
      own.close()
    }
  }

  receive(
    wanted: (head: LetterHead) => Promise<boolean>,
    { signal, urgent = false, ours = async () => true }: Parameters<Letters['receive']>[1],
  ): AsyncIterable<Letter> {
    const inbox = new Inbox<Letter>()
    const own: Scope = scope(signal, this.#owner.life)
    if (!own.signal.aborted) {
      let onlooked = () => {}
      const looked = new Promise<void>((resolve) => {
        onlooked = resolve
      })
      const reader: Reader = { wanted, urgent, ours, inbox, positions: new Map(), looked, onlooked }
      this.#readers.add(reader)
      const onabort = () => {
        own.close()
        this.#readers.delete(reader)
        onlooked()
        this.#owner.left()
      }
      own.signal.addEventListener('abort', onabort, { once: true })
      this.#owner.begin()
    }
    return inbox.take(own.signal)
  }

  async ready({ signal }: { signal: AbortSignal }): Promise<void> {
    await this.#owner.watching(signal)
    await abortable(Promise.all([...this.#readers].map(({ looked }) => looked)), signal)
  }

  /** Gives what is new in the selected folder to who wants it, and removes it. */
  async take(connection: Connection, folder: Folder): Promise<void> {
    for (const reader of this.#readers) {
      await this.#takeFor(reader, connection, folder)
      if (folder.path === this.#account.folder) reader.onlooked()
    }
  }

  /** Removes copies of letters that were sent or taken from the selected folder. */
  async tidy(connection: Connection, folder: Folder): Promise<void> {
    const { mailbox } = connection.client
    if (this.#account.keep || this.#done.size === 0 || !mailbox) return
    const next = await recent(connection, mailbox.exists, this.#context.clock.date())
    const found = (await look(connection, next)).filter(({ header }) => this.#done.has(outside(header)))
    const ours: Opened[] = []
    for await (const each of open(connection, found)) {
      if (await this.#done.get(outside(each.letter.header))?.(each.letter)) ours.push(each)
    }
    await folder.remove(connection, ours)
  }

  async #takeFor(reader: Reader, connection: Connection, folder: Folder): Promise<void> {
    const { mailbox } = connection.client
    if (!mailbox) throw new Error('the folder is closed')
    const validity = String(mailbox.uidValidity)
    const before = reader.positions.get(folder.path)
    const known = before?.validity === validity
    const next = known ? before.next : await recent(connection, mailbox.exists, this.#context.clock.date())
    const found = await look(connection, next)
    const wanted: Found[] = []
    for (const each of found) {
      if (await reader.wanted(each).catch(() => false)) wanted.push(each)
    }
    // what is junk may be so by mistake, and have come a moment ago
    const lay = before === undefined && folder.path === this.#account.folder
    if (wanted.length > 0) await this.#fetch(reader, connection, folder, wanted, lay)
    const highest = found.reduce((most, { uid }) => Math.max(most, uid), next - 1)
    reader.positions.set(folder.path, { validity, next: highest + 1 })
  }

  async #fetch(
    reader: Reader,
    connection: Connection,
    folder: Folder,
    wanted: readonly Found[],
    lay: boolean,
  ): Promise<void> {
    const ours: Opened[] = []
    for await (const { uid, letter } of open(connection, wanted)) {
      const given = { ...letter, lay }
      if (!(await reader.ours(given))) {
        this.#context.log.debug({}, 'leaving a mail that only looks like ours')
        continue
      }
      ours.push({ uid, letter })
      this.#remember(letter.header, reader.ours)
      reader.inbox.push(given)
    }
    if (!this.#account.keep) await folder.remove(connection, ours)
  }

  #remember(header: string, ours: (letter: Letter) => Promise<boolean>): void {
    this.#done.set(outside(header), ours)
    forgetOldest(this.#done, MAX_REMEMBERED)
    this.#owner.disturb()
  }
}

/** Opens mails without a mark on them. */
async function* open(connection: Connection, found: readonly Found[]): AsyncGenerator<Opened> {
  if (found.length === 0) return
  const query = { uid: true, source: { maxLength: MAX_LETTER + 1 } }
  for await (const { uid, source } of connection.fetch(found.map(({ uid }) => uid).join(','), query)) {
    const head = found.find((each) => each.uid === uid)
    if (!head || !source || source.length > MAX_LETTER) continue
    const { header, arrived } = head
    const gap = /\r?\n\r?\n/.exec(source.toString('latin1'))
    const body = source.subarray(gap ? gap.index + gap[0].length : source.length)
    yield { uid: head.uid, letter: { header, arrived, body, source, lay: false } }
  }
}

/** The mails from this UID on in the selected folder, by their outsides; those that are too large are left out. */
async function look(connection: Connection, next: number): Promise<Found[]> {
  const found: Found[] = []
  const query = { uid: true, internalDate: true, size: true, headers: FIELDS }
  for await (const row of connection.fetch(`${next}:*`, query)) {
    const { uid, headers, internalDate, size = 0 } = row
    // what the server says unasked of somebody's flags comes as a row too
    if (uid === undefined || uid < next || !headers || internalDate === undefined) continue
    const arrived = new Date(internalDate).getTime()
    const fits = size <= MAX_LETTER && headers.length <= MAX_HEADER
    found.push({ uid, header: fits ? headers.toString('utf8') : '', arrived })
  }
  return found
}

/** @throws PlexusError RENDEZVOUS_FOREIGN */
function checkAddress(text: string): void {
  if (isAddress(text)) return
  throw new PlexusError('RENDEZVOUS_FOREIGN', `'${text}' is not a valid email address.`, {
    advice: 'Use identities whose owners are email addresses.',
  })
}

/** What tells one correspondence from another: the three fields, unfolded, in one order. */
function outside(header: string): string {
  const lines = header.replace(/\r?\n[ \t]+/g, ' ').split(/\r?\n/)
  const field = (name: string) =>
    lines.find((line) => line.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1)
  return FIELDS.map((name) => field(name)?.trim() ?? '').join('\n')
}
