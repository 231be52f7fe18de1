import { join } from 'node:path'
import type { ImapFlow } from 'imapflow'
import { PlexusError } from '../../src/errors/index.js'
import { sleep } from '../../src/net/index.js'
import type { RendezvousContext } from '../interface.js'
import { abortable, type Scope, scope } from '../scope.js'
import { type Account, accountName } from './account.js'
import { Backoff } from './backoff.js'
import { connect, select } from './connection.js'
import { faultOf } from './fault.js'
import { Folder, GRACE } from './folder.js'
import type { LetterBox } from './letter-box.js'
import type { Label } from './message.js'
import { readPosition, writePosition } from './position.js'

/** Pauses before a lost connection is made again, and before a login that was refused is tried again, in ms. */
const LOST = { first: 500, last: 60_000 }
const REFUSED = { first: 60_000, last: 900_000 }
/** The first look into the other folders, in ms after the login, and the pauses between two, while somebody waits or not. */
const FIRST_ROUND = 3000
const WAITING_ROUND = 15_000
const ROUND = 55_000
/** The pause between two looks in ms where the server has no IDLE, while somebody waits or not. */
const WAITING_POLL = 3000
const POLL = 20_000
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
  | { readonly is: 'connecting' }
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
  #state: State = { is: 'connecting' }
  readonly #changes = new Set<() => void>()
  #wake: Scope = scope()
  #untidy = false
  #trouble = ''

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
    this.#untidy = true
    const [oldest] = this.#done
    if (oldest !== undefined && this.#done.size > MAX_REMEMBERED) this.#done.delete(oldest)
  }

  /** Resolves once messages can arrive. @throws PlexusError why the login is refused, or the signal's reason */
  async watching(signal: AbortSignal): Promise<void> {
    while (this.#state.is === 'connecting') {
      await abortable(new Promise<void>((resolve) => this.#changes.add(resolve)), signal)
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
    const lost = new Backoff(clock, random, LOST)
    const refused = new Backoff(clock, random, REFUSED)
    const path = join(this.#context.stateDirectory, `email-${accountName(this.#account)}.json`)
    const folder = new Folder(this.#account.folder, await readPosition(path))
    while (!signal.aborted) {
      try {
        await this.#session(folder, path, signal, () => {
          lost.reset()
          refused.reset()
          if (this.#trouble) log.info({}, 'the mailbox can be read again')
          this.#trouble = ''
        })
      } catch (thrown) {
        if (signal.aborted) return
        const error = faultOf(thrown, this.#account.mailbox)
        const usage = error.kind === 'usage'
        const told = usage ? `${error.message} ${error.advice}` : error.message
        if (this.#trouble !== error.code) {
          log.warn({ code: error.code }, `the mailbox cannot be read, and is tried again: ${told}`)
        }
        this.#trouble = error.code
        this.#enter(usage ? { is: 'refused', error } : { is: 'connecting' })
        await (usage ? refused : lost).wait(signal).catch(() => {})
      }
    }
  }

  /** One connection, from login to loss. @throws what went wrong */
  async #session(folder: Folder, path: string, signal: AbortSignal, works: () => void): Promise<void> {
    const { clock } = this.#context
    const lost = scope()
    const client = await connect(this.#account, signal, () => lost.close())
    let cancel = () => {}
    const onabort = () => {
      this.#wake.close()
      cancel = clock.timer(LAST_MANNERS, () => client.close())
    }
    signal.addEventListener('abort', onabort, { once: true })
    if (signal.aborted) onabort()
    try {
      client.on('exists', () => this.#wake.close())
      await select(client, folder.path)
      let round = clock.now() + FIRST_ROUND
      const others = new OtherFolders()
      while (!lost.signal.aborted) {
        this.#wake.close()
        this.#wake = scope(lost.signal)
        await this.#take(client, folder)
        await this.#save(path, folder)
        works()
        if (this.#state.is !== 'watching') this.#enter({ is: 'watching' })
        if (signal.aborted || clock.now() >= round) {
          if (!signal.aborted || this.#untidy) await this.#round(client, folder, others)
          if (signal.aborted) return
          round = clock.now() + (this.#receivers.urgent ? WAITING_ROUND : ROUND)
          continue // what came to the folder while another was selected
        }
        await this.#idle(client, Math.max(0, round - clock.now()))
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
  async #idle(client: ImapFlow, ms: number): Promise<void> {
    const { clock } = this.#context
    const pushed = client.capabilities.has('IDLE')
    const waking = this.#wake.signal
    if (pushed) {
      const began = clock.now()
      void client.idle().then(
        // one that ends at once was refused: then the time decides
        () => clock.now() - began > WAITING_POLL && this.#wake.close(),
        () => {},
      )
      await sleep(clock, ms, waking).catch(() => {})
    } else {
      const poll = this.#receivers.urgent ? WAITING_POLL : POLL
      await sleep(clock, Math.min(ms, poll), waking).catch(() => {})
      await client.noop()
    }
  }

  /** Looks what is new, delivers what somebody receives, and removes that and what has expired. */
  async #take(client: ImapFlow, folder: Folder): Promise<void> {
    const { clock, log } = this.#context
    await folder.look(client, clock.date())
    const wanted = () => folder.which(({ mailbox }) => this.#receivers.has(mailbox)).slice(0, OPENED)
    for (let uids = wanted(); uids.length > 0; uids = wanted()) {
      const opened = await folder.open(client, uids)
      if (opened.length < uids.length)
        log.debug({}, `${uids.length - opened.length} mails that only look like ours by their subject stay`)
      for (const { label, sealed } of opened) {
        this.remember(label.mailbox)
        this.#receivers.deliver(label.mailbox, sealed)
      }
      if (!this.#account.keep) await folder.remove(client, opened)
    }
    await this.#letters.take(client, folder)
    if (!this.#account.keep) await sweep(client, folder, ({ expires }) => expires + GRACE < clock.date())
  }

  /** Looks into the folder of junk, and tidies up where servers leave copies. */
  async #round(client: ImapFlow, folder: Folder, others: OtherFolders): Promise<void> {
    const { clock } = this.#context
    const { junk, copies } = await others.of(client)
    const visit = async (other: Folder, tend: () => Promise<void>) => {
      if (other.path === folder.path || !(await others.changed(client, other))) return
      await select(client, other.path)
      await tend()
    }
    for (const other of junk) await visit(other, () => this.#take(client, other))
    // what was junk a moment ago may have copies too
    const untidy = this.#untidy && !this.#account.keep
    this.#untidy = false
    for (const other of untidy ? copies : []) {
      await visit(other, async () => {
        await other.look(client, clock.date())
        await sweep(
          client,
          other,
          ({ mailbox, expires }) => this.#done.has(mailbox) || expires + GRACE < clock.date(),
        )
        await this.#letters.tidy(client, other)
      })
    }
    if (client.mailbox && client.mailbox.path !== folder.path) await select(client, folder.path)
    else await client.noop() // the server shows us what it has not told (RFC 9051, 6.1.2): a push may have been lost
  }

  async #save(path: string, folder: Folder): Promise<void> {
    const { random, log } = this.#context
    const { position } = folder
    if (!position || `${position.validity} ${position.next}` === this.#saved) return
    this.#saved = `${position.validity} ${position.next}`
    await writePosition(path, position, random(6).toString('hex')).catch((thrown: unknown) =>
      log.debug({ err: thrown }, 'how far the mailbox was read could not be kept'),
    )
  }
  #saved = ''
}

/** Removes mails of ours that nobody needs any more, once they were seen to be ours. */
async function sweep(client: ImapFlow, folder: Folder, spent: (label: Label) => boolean): Promise<void> {
  const uids = folder.which(spent)
  for (let from = 0; from < uids.length; from += OPENED)
    await folder.remove(client, await folder.open(client, uids.slice(from, from + OPENED)))
}

/** The folders that the server says junk, sent and deleted mail is in (RFC 6154); asked for once. */
class OtherFolders {
  #found: { readonly junk: readonly Folder[]; readonly copies: readonly Folder[] } | undefined
  readonly #next = new Map<Folder, string>()

  async of(
    client: ImapFlow,
  ): Promise<{ readonly junk: readonly Folder[]; readonly copies: readonly Folder[] }> {
    if (this.#found) return this.#found
    const list = await client.list()
    const named = (...uses: string[]) =>
      list
        .filter(
          ({ specialUse, specialUseSource }) =>
            specialUseSource === 'extension' && specialUse !== undefined && uses.includes(specialUse),
        )
        .map(({ path }) => new Folder(path, undefined))
    this.#found = { junk: named('\\Junk'), copies: named('\\Sent', '\\Trash') }
    return this.#found
  }

  /** Whether mail has come to it since the last time. */
  async changed(client: ImapFlow, folder: Folder): Promise<boolean> {
    const status = await client.status(folder.path, { uidNext: true, uidValidity: true, messages: true })
    if (!status) return false
    const now = `${status.uidValidity} ${status.uidNext}`
    const before = this.#next.get(folder)
    this.#next.set(folder, now)
    return before !== now && (status.messages ?? 0) > 0
  }
}
