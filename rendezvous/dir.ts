import { constants, type FSWatcher, watch } from 'node:fs'
import { lstat, opendir, open as openFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { codeWord, PlexusError } from '../src/errors/index.js'
import { makeDirectories } from '../src/files/index.js'
import { sleep } from '../src/net/index.js'
import { forgetOldest } from './forget-oldest.js'
import { Inbox } from './inbox.js'
import type { Envelope, Mailbox, OpenRendezvous, Rendezvous, RendezvousContext } from './interface.js'
import { mailboxName, messageName } from './mailbox.js'
import { wrongOption } from './options.js'
import { type Scope, scope } from './scope.js'

/**
 * A directory that both sides see, over NFS or Syncthing for example, as a rendezvous: `dir:/path`, or
 * `dir:/path?latency=15000` where files take that many ms to appear on the other side.
 *
 * A message is a file `<mailbox>-<expires>-<message>.plexus`: 32 hex digits that only those can compute who hold the
 * receiver's certificate or the session's seed, ms since 1970, 16 hex digits of the message's SHA-256. It is written
 * under a temporary name and renamed, so it is there whole or not at all. Its content is sealed, so its mode is left
 * to the umask; two users who share a directory give it a common group and a umask of 007, or run as one user. A
 * directory that does not exist is made for its user alone (0700).
 */

/** Files that are ours: messages, and (with a dot) those being written. Nothing else is ever read or removed. */
const NAME = /^(\.)?([0-9a-f]{32})-(\d{13})-([0-9a-f]{16})(?:\.plexus|\.[0-9a-f]{12}\.tmp)$/
/** Bytes of the largest file that is read: four times what the DHT takes. */
const MAX_FILE = 65_536
/** Pause between two looks, in ms, where the system tells nothing, as over NFS. */
const RESCAN = 2000
/** Entries looked at in one go: a directory that is used for something else besides must not exhaust memory. */
const MAX_ENTRIES = 20_000
/** An expired file is removed this much later, in ms: clocks may be off by it, and its receiver may be slow. */
const GRACE = 3_600_000
/** A temporary file that was not renamed for this long, in ms, has lost its writer. */
const ABANDONED = 600_000
/** How often expired and abandoned files are removed while somebody receives, in ms. */
const SWEEP = 600_000
/** Files that could not be removed, remembered so as not to deliver them again. */
const MAX_REMEMBERED = 4096
/** Typical latency in ms: at once where the system tells, one rescan over NFS. */
const LATENCY = 2500

class DirectoryRendezvous implements Rendezvous {
  readonly name: string
  readonly latency: number
  readonly #path: string
  readonly #context: RendezvousContext
  readonly #life: Scope = scope()
  readonly #receiving = new Set<Promise<void>>()
  /** The names of messages that cannot be read. */
  readonly #reported = new Set<string>()

  constructor(path: string, latency: number, context: RendezvousContext) {
    this.name = `dir:${path}`
    this.#path = path
    this.latency = latency
    this.#context = context
  }

  async post(
    { to, expires }: Envelope,
    sealed: Uint8Array,
    { signal }: { signal: AbortSignal },
  ): Promise<void> {
    signal.throwIfAborted()
    this.#life.signal.throwIfAborted()
    if (sealed.length === 0 || sealed.length > MAX_FILE)
      throw new PlexusError(
        'INTERNAL',
        `A message of ${sealed.length} bytes does not fit (1 to ${MAX_FILE}).`,
      )
    const until = String(Math.max(0, Math.min(Math.floor(expires), 9_999_999_999_999))).padStart(13, '0')
    const name = `${mailboxName(to)}-${until}-${messageName(sealed)}`
    const temporary = join(this.#path, `.${name}.${this.#context.random(6).toString('hex')}.tmp`)
    try {
      const file = await openFile(temporary, 'wx', 0o666)
      try {
        await file.writeFile(sealed)
        await file.sync()
      } finally {
        await file.close()
      }
      signal.throwIfAborted()
      await rename(temporary, join(this.#path, `${name}.plexus`))
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => {})
      signal.throwIfAborted()
      const why = codeWord(cause)
      throw new PlexusError('RENDEZVOUS_UNREACHABLE', `Cannot write a message to ${this.#path} (${why}).`, {
        cause,
      })
    }
  }

  receive(mailbox: Mailbox, { signal }: { signal: AbortSignal }): AsyncIterable<Uint8Array> {
    const inbox = new Inbox()
    const own = scope(signal, this.#life.signal)
    const running = this.#watch(mailboxName(mailbox), own.signal, (message) => inbox.push(message)).finally(
      () => {
        own.close()
        this.#receiving.delete(running)
      },
    )
    this.#receiving.add(running)
    return inbox.take(own.signal)
  }

  async ready(): Promise<void> {}

  async close(): Promise<void> {
    this.#life.close(new PlexusError('CANCELLED', 'The rendezvous was closed.'))
    await Promise.all(this.#receiving)
  }

  /** Looks into the directory when the system tells of a change, and from time to time. Never throws. */
  async #watch(mailbox: string, signal: AbortSignal, deliver: (message: Buffer) => void): Promise<void> {
    const { clock, log } = this.#context
    const kept = new Set<string>()
    let change: Scope = scope(signal)
    let watcher: FSWatcher | undefined
    const told = () => change.close()
    let swept = Number.NEGATIVE_INFINITY
    let trouble = ''
    while (!signal.aborted) {
      change = scope(signal)
      try {
        watcher ??= this.#told(told, () => {
          watcher?.close()
          watcher = undefined
        })
        if (clock.now() - swept > SWEEP) {
          swept = clock.now()
          await this.#sweep()
        }
        await this.#scan(mailbox, kept, deliver, signal)
        if (trouble) log.info({ path: this.#path }, 'the directory can be read again')
        trouble = ''
      } catch (cause) {
        watcher?.close()
        watcher = undefined // it would go on watching a directory that was replaced by another one
        const why = codeWord(cause)
        if (why !== trouble && !signal.aborted)
          log.warn({ path: this.#path, cause: why }, 'the directory cannot be read, retrying')
        trouble = why
      }
      await sleep(clock, RESCAN, change.signal).catch(() => {})
      change.close()
    }
    watcher?.close()
  }

  #told(changed: () => void, failed: () => void): FSWatcher | undefined {
    try {
      const watcher = watch(this.#path, { persistent: false }, changed)
      watcher.on('error', failed)
      return watcher
    } catch {
      return undefined // too many watches, or a file system without them: looking from time to time will do
    }
  }

  /** Delivers what lies in the mailbox, and removes it. */
  async #scan(
    mailbox: string,
    kept: Set<string>,
    deliver: (message: Buffer) => void,
    signal: AbortSignal,
  ): Promise<void> {
    for await (const name of this.#names()) {
      if (signal.aborted) return
      if (name.startsWith('.') || !name.startsWith(mailbox) || kept.has(name)) continue
      const path = join(this.#path, name)
      const message = await readMessage(path).catch((cause: unknown) => this.#unreadable(name, cause))
      if (message === null) continue // it is tried again at the next look
      if (message && message.length > 0) deliver(message)
      else this.#context.log.debug({ name }, 'not a message: skipped')
      const removed = message
        ? await rm(path, { force: true }).then(
            () => true,
            () => false,
          )
        : false
      if (removed) continue
      kept.add(name)
      forgetOldest(kept, MAX_REMEMBERED)
    }
  }

  /** Tells once of a message that cannot be read, as when its writer keeps it from others. */
  #unreadable(name: string, cause: unknown): null {
    if (!this.#reported.has(name)) {
      const why = codeWord(cause)
      const sentence = `a message in ${this.#path} cannot be read (${why}): give both sides a common group and a umask of 007`
      this.#context.log.warn({ code: 'RENDEZVOUS_UNREACHABLE' }, sentence)
    }
    this.#reported.add(name)
    forgetOldest(this.#reported, MAX_REMEMBERED)
    return null
  }

  /** Removes what has expired, whoever left it, and what writers that died left half written. */
  async #sweep(): Promise<void> {
    const date = this.#context.clock.date()
    for await (const name of this.#names()) {
      const [, temporary, , expires] = NAME.exec(name) ?? []
      const path = join(this.#path, name)
      const status = await lstat(path).catch(() => undefined)
      if (!status?.isFile()) continue
      const useless = temporary ? status.mtimeMs + ABANDONED < date : Number(expires) + GRACE < date
      if (useless) await rm(path, { force: true }).catch(() => {})
    }
  }

  /** The names of files that are ours. */
  async *#names(): AsyncGenerator<string> {
    let seen = 0
    for await (const { name } of await opendir(this.#path)) {
      if (++seen > MAX_ENTRIES) return
      if (NAME.test(name)) yield name
    }
  }

  /** Makes the directory if it is not there, and tries whether it can be written. @throws PlexusError BAD_RENDEZVOUS */
  async prepare(): Promise<void> {
    const probe = join(
      this.#path,
      `.${'0'.repeat(32)}-${'0'.repeat(13)}-${'0'.repeat(16)}.${this.#context.random(6).toString('hex')}.tmp`,
    )
    try {
      const made = await makeDirectories(this.#path, 0o700)
      if (made !== undefined) {
        const what = `created the directory ${this.#path}, which did not exist: if it is a network share, it may not be mounted`
        this.#context.log.warn({}, what)
      }
      await (await openFile(probe, 'wx', 0o600)).close()
      await rm(probe)
      await this.#sweep()
    } catch (cause) {
      const why = codeWord(cause)
      throw new PlexusError('BAD_RENDEZVOUS', `The directory ${this.#path} cannot be used (${why}).`, {
        advice: 'Give dir: the absolute path of a directory that this user may read and write.',
        cause,
      })
    }
  }
}

/** What opening a file gives that is gone, or no file. */
const NO_MESSAGE: readonly unknown[] = ['ENOENT', 'ELOOP', 'EMLINK', 'ENXIO', 'ENODEV']

/**
 * The content of a message; undefined if the file is none: a link, a device, empty, too large, or gone.
 * @throws what the file system throws for one that cannot be read
 */
async function readMessage(path: string): Promise<Buffer | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await openFile(path, flags).catch((cause: NodeJS.ErrnoException) => {
    if (NO_MESSAGE.includes(cause.code)) return undefined
    throw cause
  })
  if (!file) return undefined
  try {
    const status = await file.stat()
    if (!status.isFile() || status.size === 0 || status.size > MAX_FILE) return undefined
    const content = Buffer.alloc(status.size)
    const { bytesRead } = await file.read(content, 0, status.size, 0)
    return bytesRead === status.size ? content : undefined
  } finally {
    await file.close()
  }
}

/** Opens `dir:/path`. @throws PlexusError BAD_RENDEZVOUS */
export const open: OpenRendezvous = async (url, context) => {
  const bad = (why: string) =>
    new PlexusError('BAD_RENDEZVOUS', `'${url.href}' is not a valid directory URL: ${why}.`, {
      advice: 'Write dir:/path with an absolute path.',
    })
  let path: string
  try {
    path = decodeURIComponent(url.pathname)
  } catch {
    throw bad('write a percent sign in a path as %25')
  }
  if (url.host !== '' || !path.startsWith('/') || path.includes('\0')) throw bad('the path is not absolute')
  if (url.hash !== '') throw bad('write # in a path as %23')
  const wrong = wrongOption(url, ['latency'])
  if (wrong) throw bad(wrong)
  const latency = Number(url.searchParams.get('latency') ?? LATENCY)
  if (!(latency >= 0 && latency <= 86_400_000)) throw bad('latency must be a number of milliseconds')
  const rendezvous = new DirectoryRendezvous(path, latency, context)
  await rendezvous.prepare()
  return rendezvous
}
