import { join } from 'node:path'
import { PlexusError } from '../../src/errors/index.js'
import { sleep } from '../../src/net/index.js'
import { forgetOldest } from '../forget-oldest.js'
import type { RendezvousContext } from '../interface.js'
import { abortable, type Scope, scope } from '../scope.js'
import { type Account, accountName } from './account.js'
import { Backoff } from './backoff.js'
import { Connection } from './connection.js'
import { faultOf, PutOff } from './fault.js'
import { Folder, GRACE } from './folder.js'
import type { LetterBox } from './letter-box.js'
import type { Label } from './message.js'
import { OtherFolders } from './other-folders.js'
import { readPosition, writePosition } from './position.js'

/** Pauses before a lost connection is made again, and before a login that was refused is tried again, in ms. */
const LOST = { first: 500, last: 60_000 }
const REFUSED = { first: 60_000, last: 900_000 }
/** The same for a login that was put off: it may be a matter of seconds, and asking too often is what many servers mind. */
const PUT_OFF = { first: 3000, last: 900_000 }
/** How long a folder beside the one that messages come to is let alone once it could not be used, in ms: doubled each time. */
const SHUNNED = { first: 60_000, last: 900_000 }
/** The first look into the other folders, in ms after the login, and the pauses between two, while somebody waits or not. */
const FIRST_ROUND = 3000
const WAITING_ROUND = 15_000
const ROUND = 55_000
/**
 * The pause between two looks in ms, while somebody waits or not, where the server has no IDLE, and where it may be late with what it
 * tells: Courier itself looks only once a minute. Servers with NOTIFY (RFC 5465) hear of changes themselves.
 */
const WAITING_POLL = 3000
const POLL = 20_000
/** The same where a look found what IDLE had not told. */
const LATE_POLL = 5000
/** How long removing what was read may take once the end is asked for, in ms: a large Maildir takes more than one second. */
const LAST_MANNERS = 1500
/** Mails that are opened in one go: what they hold is in memory together. */
const OPENED = 16
/** Mailboxes remembered that messages went to or came from. */
const MAX_REMEMBERED = 1024

/** Who takes the messages. */
export interface Receivers {
  /** Gives a message to who receives this mailbox. */
  deliver(mailbox: string, sealed: Buffer): void
  has(mailbox: string): boolean
  /** Whether somebody waits for an answer now, rather than for anybody at any time. */
  readonly urgent: boolean
}

type State =
  /** `last`: why it could not be read, if it was tried. */
  | { readonly is: 'connecting'; readonly last?: PlexusError }
  | { readonly is: 'watching' }
  | { readonly is: 'refused'; readonly error: PlexusError }

/** The one connection to the mailbox, for as long as anybody receives: it is told of new mail, and looks by itself seldom. */
export class Watch {
  readonly #account: Account
  readonly #context: RendezvousContext
  readonly #receivers: Receivers
  readonly #letters: LetterBox
  /** Mailboxes that messages of this program went to or came from: copies of them in other folders are ours to remove. */
  readonly #done = new Set<string>()
  /** Mailboxes that nobody receives. */
  readonly #unread = new Set<string>()
  #state: State = { is: 'connecting' }
  readonly #changes = new Set<() => void>()
  #wake: Scope = scope()
  #untidy = false
  /** Whether the server was late with what it told in IDLE. */
  #late = false
  #trouble = ''
  /** Folders that cannot be used, until when on the clock's `now` they are let alone, and for how long, in ms. */
  readonly #shunned = new Map<string, { readonly until: number; readonly pause: number }>()
  #over: AbortSignal | undefined

  constructor(account: Account, context: RendezvousContext, receivers: Receivers, letters: LetterBox) {
    this.#account = account
    this.#context = context
    this.#receivers = receivers
    this.#letters = letters
  }

  /** There is somebody new to take messages, or something new to tidy up. */
  nudge(): void {
    this.#wake.close()
  }

  /** A letter was sent or taken: copies of it are ours to remove. */
  disturb(): void {
    this.#untidy = true
  }

  /** A message of this mailbox was sent or taken: copies of it are ours to remove. */
  remember(mailbox: string): void {
    this.#done.add(mailbox)
    forgetOldest(this.#done, MAX_REMEMBERED)
    this.#untidy = true
  }

  /** Nobody receives this mailbox: its messages are removed, now and when they come. */
  spent(mailbox: string): void {
    this.#unread.add(mailbox)
    forgetOldest(this.#unread, MAX_REMEMBERED)
    this.nudge()
  }

  /**
   * Resolves once messages can arrive.
   * @throws PlexusError why the login is refused; once the signal has aborted why the mailbox cannot be read, or the signal's
   *   reason where that is not known
   */
  async watching(signal: AbortSignal): Promise<void> {
    while (this.#state.is === 'connecting') {
      const change = new Promise<void>((resolve) => this.#changes.add(resolve))
      await abortable(change, signal).catch((reason: unknown) => {
        throw (this.#state.is === 'connecting' && this.#state.last) || reason
      })
    }
    if (this.#state.is === 'refused') throw this.#state.error
  }

  #enter(state: State): void {
    this.#state = state
    for (const resolve of this.#changes) resolve()
    this.#changes.clear()
  }

  /** Watches until the signal aborts, through every loss of connection. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#context
    this.#state = { is: 'connecting' }
    this.#over = signal
    const lost = new Backoff(clock, random, LOST)
    const refused = new Backoff(clock, random, REFUSED)
    const putOff = new Backoff(clock, random, PUT_OFF)
    const path = join(this.#context.stateDirectory, `email-${accountName(this.#account)}.json`)
    const folder = new Folder(this.#account.folder, await readPosition(path))
    while (!signal.aborted) {
      try {
        await this.#session(folder, path, signal, () => {
          lost.reset()
          refused.reset()
          putOff.reset()
          if (this.#trouble) log.info({}, 'the mailbox can be read again')
          this.#trouble = ''
        })
      } catch (thrown) {
        if (signal.aborted) return
        const error = faultOf(thrown, this.#account.mailbox, 'use')
        const usage = error.kind === 'usage'
        const told = usage ? `${error.message} ${error.advice}` : error.message
        // once for each cause: what a server says of a session or a second is no other cause
        const cause = error.message.replace(/\d+/g, '')
        if (this.#trouble !== cause)
          log.warn({ code: error.code }, `the mailbox cannot be read, retrying: ${told}`)
        this.#trouble = cause
        this.#enter(usage ? { is: 'refused', error } : { is: 'connecting', last: error })
        const pause = usage ? refused : error instanceof PutOff ? putOff : lost
        await pause.wait(signal).catch(() => {})
      }
    }
  }

  /** One connection, from login to loss. @throws what went wrong */
  async #session(folder: Folder, path: string, signal: AbortSignal, works: () => void): Promise<void> {
    const { clock } = this.#context
    const lost = scope()
    const connection = await Connection.open(this.#account, clock, signal, () => lost.close())
    const { client } = connection
    let cancel = () => {}
    const onabort = () => {
      this.#wake.close()
      cancel = clock.timer(LAST_MANNERS, () => client.close())
    }
    signal.addEventListener('abort', onabort, { once: true })
    if (signal.aborted) onabort()
    try {
      client.on('exists', () => this.#wake.close())
      await connection.select(folder.path)
      let round = clock.now() + FIRST_ROUND
      const others = new OtherFolders()
      while (!lost.signal.aborted) {
        this.#wake.close()
        this.#wake = scope(lost.signal)
        await this.#take(connection, folder)
        await this.#save(path, folder)
        works()
        if (this.#state.is !== 'watching') this.#enter({ is: 'watching' })
        if (signal.aborted || clock.now() >= round) {
          if (!signal.aborted || this.#untidy) await this.#round(connection, folder, others)
          if (signal.aborted) return
          round = clock.now() + (this.#receivers.urgent ? WAITING_ROUND : ROUND)
          continue // what came to the folder while another was selected
        }
        await this.#idle(connection, Math.max(0, round - clock.now()))
      }
      throw new PlexusError('RENDEZVOUS_UNREACHABLE', 'The connection to the mailbox was lost.')
    } finally {
      signal.removeEventListener('abort', onabort)
      cancel()
      client.close()
      lost.close()
    }
  }

  /** Waits until there is mail, or for `ms`. IDLE is left by the next command. */
  async #idle(connection: Connection, ms: number): Promise<void> {
    const { clock } = this.#context
    const { client } = connection
    const waking = this.#wake.signal
    const pause = Math.min(ms, this.#receivers.urgent ? WAITING_POLL : this.#late ? LATE_POLL : POLL)
    if (client.capabilities.has('IDLE')) {
      const prompt = client.capabilities.has('NOTIFY')
      const began = clock.now()
      void client.idle().then(
        // one that ends at once was refused: then the time decides
        () => clock.now() - began > WAITING_POLL && this.#wake.close(),
        () => {},
      )
      await sleep(clock, prompt ? ms : pause, waking).catch(() => {})
      if (!prompt && !waking.aborted) {
        await connection.within('a NOOP', client.noop())
        this.#late ||= waking.aborted
      }
    } else {
      await sleep(clock, pause, waking).catch(() => {})
      await connection.within('a NOOP', client.noop())
    }
  }

  /** Looks what is new, delivers what somebody receives, and removes that and what has expired. */
  async #take(connection: Connection, folder: Folder): Promise<void> {
    const { clock, log } = this.#context
    await folder.look(connection, clock.date())
    const wanted = () => folder.which(({ mailbox }) => this.#receivers.has(mailbox)).slice(0, OPENED)
    for (let uids = wanted(); uids.length > 0; uids = wanted()) {
      const opened = await folder.open(connection, uids)
      if (opened.length < uids.length)
        log.debug({}, `${uids.length - opened.length} mails that only look like ours, left alone`)
      for (const { label, sealed } of opened) {
        this.remember(label.mailbox)
        this.#receivers.deliver(label.mailbox, sealed)
      }
      if (!this.#account.keep) await folder.remove(connection, opened)
    }
    await this.#letters.take(connection, folder)
    const over = ({ mailbox, expires }: Label) => this.#unread.has(mailbox) || expires + GRACE < clock.date()
    if (!this.#account.keep) await sweep(connection, folder, over)
  }

  /** Looks into the folder of junk, and tidies up where servers leave copies. */
  async #round(connection: Connection, folder: Folder, others: OtherFolders): Promise<void> {
    const { clock } = this.#context
    const { client } = connection
    const { junk, copies } = await others.of(connection)
    for (const other of junk)
      await this.#visit(connection, other, folder, others, () => this.#take(connection, other))
    // what was junk a moment ago may have copies too
    const untidy = this.#untidy && !this.#account.keep
    this.#untidy = false
    for (const other of untidy ? copies : []) {
      await this.#visit(connection, other, folder, others, async () => {
        await other.look(connection, clock.date())
        await sweep(
          connection,
          other,
          ({ mailbox, expires }) => this.#done.has(mailbox) || expires + GRACE < clock.date(),
        )
        await this.#letters.tidy(connection, other)
      })
    }
    if (client.mailbox && client.mailbox.path === folder.path)
      // the server shows us what it has not told (RFC 9051, 6.1.2): a push may have been lost
      await connection.within('a NOOP', client.noop())
    else await connection.select(folder.path)
  }

  /** Tends another folder. One that cannot be used, however it fails, is let alone for a while: it keeps no message from the other. */
  async #visit(
    connection: Connection,
    other: Folder,
    { path }: Folder,
    others: OtherFolders,
    tend: () => Promise<void>,
  ): Promise<void> {
    const { clock, log } = this.#context
    const { until = 0, pause: before = SHUNNED.first / 2 } = this.#shunned.get(other.path) ?? {}
    if (other.path === path || clock.now() < until) return
    const pause = Math.min(2 * before, SHUNNED.last)
    // until it was seen to work: it may take the connection along
    this.#shunned.set(other.path, { until: clock.now() + pause, pause })
    try {
      if (await others.changed(connection, other)) {
        await connection.select(other.path)
        await tend()
      }
      this.#shunned.delete(other.path)
    } catch (thrown) {
      if (this.#over?.aborted) throw thrown
      const { message } = faultOf(thrown, this.#account.mailbox, 'folder', other.path)
      const loudness = before < SHUNNED.first ? 'warn' : 'debug'
      log[loudness]({}, `skipping the folder '${other.path}' for ${pause / 60_000} min: ${message}`)
      if (!connection.client.usable) throw thrown
    }
  }

  async #save(path: string, folder: Folder): Promise<void> {
    const { random, log } = this.#context
    const { position } = folder
    if (!position || `${position.validity} ${position.next}` === this.#saved) return
    this.#saved = `${position.validity} ${position.next}`
    await writePosition(path, position, random(6).toString('hex')).catch((thrown: unknown) =>
      log.debug({ err: thrown }, 'the position in the mailbox could not be saved'),
    )
  }
  #saved = ''
}

/** Removes mails of ours that nobody needs any more, once they were seen to be ours. */
async function sweep(
  connection: Connection,
  folder: Folder,
  spent: (label: Label) => boolean,
): Promise<void> {
  const uids = folder.which(spent)
  for (let from = 0; from < uids.length; from += OPENED)
    await folder.remove(connection, await folder.open(connection, uids.slice(from, from + OPENED)))
}
