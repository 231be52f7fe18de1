import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readFile, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeWord, PlexusError } from '../errors/index.js'
import type { Clock, Logger } from '../net/index.js'

/** The length of a session id, in bytes. */
const ID_BYTES = 16

/** `<session in hex> <expiry in ms>\n`: all of one length, so that a torn one can be told from a whole one. */
const RECORD = /^([0-9a-f]{32}) (\d{13})$/
const MAX_EXPIRES = 9_999_999_999_999 // the year 2286

/** The file is written anew when it has this many records, and then when it has twice what was alive the last time. */
const COMPACT_AT = 1024

/** `whole`: the file ends with a line's end. `torn`: an append failed, and the next one has to begin a new line. */
type Tail = 'whole' | 'torn'

export interface SeenOptions {
  readonly clock: Clock
  readonly log: Logger
  /** How many are remembered at most: the first ones give way. Without it all are, until they expire. */
  readonly most?: number
}

/**
 * Which sessions an accepter has seen, until they expire, across restarts.
 *
 * One file of lines, only ever appended to, so that neither a crash nor a kill loses a line that was written; what a
 * crash tore is skipped. Nothing is synchronised to the disk: after a power failure the last few may be lost, and an
 * invite replayed then is answered once more, with new keys, to no one's use. One process to a file: two would each
 * not know what the other has seen.
 */
export class SeenSessions {
  readonly #file: string
  readonly #clock: Clock
  readonly #log: Logger
  readonly #most: number
  /** Session in hex to expiry, ms since 1970-01-01 UTC. */
  readonly #sessions = new Map<string, number>()
  #handle: FileHandle | undefined
  #tail: Tail = 'whole'
  #records = 0
  #compactAt = COMPACT_AT
  /** What is being written, one after the other. */
  #writing: Promise<void> = Promise.resolve()

  private constructor(file: string, { clock, log, most = Number.POSITIVE_INFINITY }: SeenOptions) {
    this.#file = file
    this.#clock = clock
    this.#log = log
    this.#most = most
  }

  /**
   * Reads the file, or begins it (0600, in a directory 0700).
   * @throws PlexusError STATE_DIRECTORY when it can be neither read nor written
   */
  static async open(file: string, options: SeenOptions): Promise<SeenSessions> {
    const seen = new SeenSessions(file, options)
    try {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      await seen.#load()
      seen.#handle = await openForAppend(file)
    } catch (cause) {
      throw new PlexusError(
        'STATE_DIRECTORY',
        `The list of seen sessions cannot be saved in ${file} (${codeWord(cause)}).`,
        {
          cause,
        },
      )
    }
    await seen.#compact()
    return seen
  }

  /** True from when a session was added until it expires. */
  has(session: Uint8Array): boolean {
    const expires = this.#sessions.get(hex(session))
    return expires !== undefined && expires > this.#clock.date()
  }

  /**
   * Remembers a session: at once, and on disk when the promise resolves. If the disk refuses, the session is still
   * remembered until the process ends, and a warning is logged; the promise never rejects.
   * @param expires ms since 1970-01-01 UTC
   */
  add(session: Uint8Array, expires: number): Promise<void> {
    const id = hex(session)
    const until = Math.min(Math.max(Math.ceil(expires), this.#sessions.get(id) ?? 0), MAX_EXPIRES)
    this.#sessions.set(id, until)
    this.#trim()
    this.#writing = this.#writing.then(() => this.#append(id, until))
    return this.#writing
  }

  /** Waits until all is written and lets go of the file. */
  async close(): Promise<void> {
    await this.#writing
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  #trim(): void {
    for (const first of this.#sessions.keys()) {
      if (this.#sessions.size <= this.#most) return
      this.#sessions.delete(first)
    }
  }

  async #append(id: string, expires: number): Promise<void> {
    const record = line(id, expires)
    const bytes = Buffer.from(this.#tail === 'torn' ? `\n${record}` : record)
    try {
      if (!this.#handle) throw new Error('The file is closed.')
      const { bytesWritten } = await this.#handle.write(bytes)
      if (bytesWritten < bytes.length) throw new Error('The disk is full.')
      this.#tail = 'whole'
      this.#records++
    } catch (err) {
      this.#tail = 'torn'
      this.#log.warn({ err, file: this.#file }, 'a seen session is only remembered until the next restart')
    }
    if (this.#records >= this.#compactAt) await this.#compact()
  }

  async #load(): Promise<void> {
    const text = await readFile(this.#file, 'latin1').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const lines = text.split('\n')
    // what follows the last line's end is nothing, or was torn by a crash
    const torn = lines.pop() !== ''
    let unreadable = torn ? 1 : 0
    for (const record of lines) {
      const [, id, expires] = RECORD.exec(record) ?? []
      if (id && expires) this.#sessions.set(id, Math.max(Number(expires), this.#sessions.get(id) ?? 0))
      else if (record !== '') unreadable++
    }
    this.#trim()
    this.#tail = torn ? 'torn' : 'whole'
    this.#records = lines.length
    if (unreadable > 0)
      this.#log.warn({ file: this.#file, unreadable }, 'skipped incomplete records of seen sessions')
  }

  /** Drops what has expired, and writes the rest to a new file that takes the old one's place. */
  async #compact(): Promise<void> {
    const now = this.#clock.date()
    for (const [id, expires] of this.#sessions) if (expires <= now) this.#sessions.delete(id)
    // set first: when the disk refuses now, it is not asked again at every append
    this.#compactAt = Math.max(COMPACT_AT, 2 * this.#sessions.size, 2 * this.#records)
    const draft = `${this.#file}.new` // left behind by a crash, the next one writes over it
    let handle: FileHandle | undefined
    try {
      handle = await openForAppend(draft)
      await handle.truncate()
      const records = [...this.#sessions].map(([id, expires]) => line(id, expires))
      await handle.writeFile(records.join(''))
      await handle.sync() // else a power failure after the renaming could leave an empty file
      await rename(draft, this.#file)
      const former = this.#handle
      this.#handle = handle
      this.#tail = 'whole'
      this.#records = records.length
      this.#compactAt = Math.max(COMPACT_AT, 2 * this.#records)
      await former?.close()
    } catch (err) {
      if (handle !== this.#handle) await handle?.close()
      await unlink(draft).catch(() => {}) // it may not have come to be
      this.#log.warn({ err, file: this.#file }, 'the list of seen sessions could not be rewritten')
    }
  }
}

function openForAppend(file: string): Promise<FileHandle> {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW
  return open(file, flags, 0o600)
}

function line(id: string, expires: number): string {
  return `${id} ${String(expires).padStart(13, '0')}\n`
}

function hex(session: Uint8Array): string {
  if (session.length !== ID_BYTES) throw new RangeError(`a session id has ${ID_BYTES} bytes`)
  return Buffer.from(session).toString('hex')
}
