import { constants } from 'node:fs'
import { mkdir, open, readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import type { Logger } from '../net/index.js'

/**
 * The peers that have spoken the native language, each proven by its signature: none of them is answered in an older
 * one again, or whoever holds its mails back could bring it down to that.
 *
 * A file with a line for each, `owner/pin`, which is only appended to here. Whoever takes a line out of it lifts that for
 * the peer, at once. Names hold no line ends.
 */
export class NativePeers {
  readonly file: string
  readonly #log: Logger
  /** What the file held, and what its state was then. */
  #known: { readonly stamp: string; readonly names: ReadonlySet<string> } = { stamp: '', names: new Set() }
  /** Those that the disk refused: they count until the program ends. */
  readonly #unwritten = new Set<string>()
  #writing: Promise<void> = Promise.resolve()

  constructor(file: string, log: Logger) {
    this.file = file
    this.#log = log
  }

  /**
   * Never rejects.
   * @returns true as well while the file is there and cannot be read
   */
  async has(peer: IdentityName): Promise<boolean> {
    const name = formatIdentity(peer)
    if (this.#unwritten.has(name)) return true
    try {
      return (await this.#names()).has(name)
    } catch (err) {
      this.#log.warn(
        { err, file: this.file },
        'the list of peers that have used the native protocol cannot be read',
      )
      return true
    }
  }

  /** Remembers a peer: at once, and on disk when the promise resolves, if the disk takes it. Never rejects. */
  add(peer: IdentityName): Promise<void> {
    this.#writing = this.#writing.then(() => this.#append(formatIdentity(peer)))
    return this.#writing
  }

  async #append(name: string): Promise<void> {
    try {
      if ((await this.#names()).has(name)) return
      await mkdir(dirname(this.file), { recursive: true, mode: 0o700 })
      const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW
      const handle = await open(this.file, flags, 0o600)
      try {
        // a line that a crash tore ends before this one begins
        await handle.writeFile(`\n${name}\n`)
        await handle.sync()
      } finally {
        await handle.close()
      }
      this.#unwritten.delete(name)
    } catch (err) {
      if (!this.#unwritten.has(name)) {
        this.#log.warn(
          { err, file: this.file },
          'that a peer uses the native protocol is remembered only until the next restart',
        )
      }
      this.#unwritten.add(name)
    }
  }

  async #names(): Promise<ReadonlySet<string>> {
    const stamp = await stampOf(this.file)
    if (stamp !== this.#known.stamp) {
      const text = stamp === '' ? '' : await readFile(this.file, 'utf8')
      this.#known = { stamp, names: new Set(text.split('\n').filter(Boolean)) }
    }
    return this.#known.names
  }
}

/** What changes when the file does; nothing without one. */
async function stampOf(file: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
    return [ino, size, mtimeNs, ctimeNs].join(' ')
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return ''
    throw thrown
  }
}
