import { randomBytes } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { codeOf } from '../errors/index.js'
import type { Logger } from '../net/index.js'
import { STRATEGIES, type Strategy } from '../punch/index.js'

/** Peers and networks that are remembered; the one that was not met for the longest time is forgotten. */
const MOST = 256
/** The longest file that is read, in bytes. */
const LONGEST = 256 * 1024

/** What became of the last sessions with one peer from one network. */
export interface Experience {
  /** By what the last path was found. */
  readonly worked?: Strategy
  /** How many sessions have failed since one went well. */
  readonly failures: number
  /** The failures up to the last one that went well: what was tried after so many works here. */
  readonly variant: number
}

/**
 * What worked for a peer in a network, so that it is tried first the next time: a small file in the state directory.
 * Losing it costs seconds, so nothing fails for its sake.
 */
export class PathMemory {
  readonly #file: string
  readonly #log: Logger
  /** The latest last. */
  readonly #known = new Map<string, Experience>()
  #writing: Promise<void> = Promise.resolve()

  private constructor(file: string, log: Logger) {
    this.#file = file
    this.#log = log
  }

  /** Reads the file, if there is one. */
  static async open(file: string, log: Logger): Promise<PathMemory> {
    const memory = new PathMemory(file, log)
    try {
      const text = await readFile(file, 'utf8')
      if (text.length <= LONGEST)
        for (const [key, one] of parse(JSON.parse(text))) memory.#known.set(key, one)
    } catch (thrown) {
      if (codeOf(thrown) !== 'ENOENT') log.debug({ err: thrown }, 'earlier paths cannot be read')
    }
    return memory
  }

  /** @param network this side's public address, or nothing when it is not known */
  recall(peer: string, network: string | undefined): Experience {
    return this.#known.get(keyOf(peer, network)) ?? { failures: 0, variant: 0 }
  }

  /** A session went well by a strategy, or failed. */
  remember(peer: string, network: string | undefined, outcome: Strategy | 'failed'): void {
    const key = keyOf(peer, network)
    const before = this.#known.get(key)
    const { failures = 0, variant = 0, worked } = before ?? {}
    const after: Experience =
      outcome === 'failed'
        ? { failures: failures + 1, variant, ...(worked ? { worked } : {}) }
        : { failures: 0, variant: variant + failures, worked: outcome }
    this.#known.delete(key)
    this.#known.set(key, after)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST) break
      this.#known.delete(oldest)
    }
    // the usual case writes nothing
    if (isDeepStrictEqual(before, after)) return
    this.#writing = this.#writing.then(() => this.#write())
  }

  /** Resolves when everything is on disk, or has failed to be. */
  settled(): Promise<void> {
    return this.#writing
  }

  async #write(): Promise<void> {
    const draft = `${this.#file}.${randomBytes(4).toString('hex')}`
    try {
      await writeFile(draft, `${JSON.stringify([...this.#known])}\n`, { mode: 0o600 })
      await rename(draft, this.#file)
    } catch (thrown) {
      this.#log.debug({ err: thrown }, 'the path that worked could not be saved')
      await rm(draft, { force: true }).catch(() => {})
    }
  }
}

function keyOf(peer: string, network: string | undefined): string {
  return `${peer} ${network ?? ''}`
}

/** What is not of this form is left out. */
function parse(value: unknown): [string, Experience][] {
  if (!Array.isArray(value)) return []
  return value.slice(-MOST).flatMap((entry): [string, Experience][] => {
    if (!Array.isArray(entry)) return []
    const [key, one] = entry as unknown[]
    if (typeof key !== 'string' || key.length > 1000 || typeof one !== 'object' || one === null) return []
    const { worked, failures, variant } = one as Record<string, unknown>
    const strategy = STRATEGIES.find((each) => each === worked)
    if (!isCount(failures) || !isCount(variant)) return []
    return [[key, { failures, variant, ...(strategy ? { worked: strategy } : {}) }]]
  })
}

/** A number of sessions; more than anybody has are a damaged file. */
function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 1e9
}
