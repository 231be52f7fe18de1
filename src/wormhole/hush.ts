import type { Clock } from '../net/index.js'

/** For how long the same sentence is not repeated, in ms. */
const INTERVAL = 10_000

/** How many sentences are remembered: a peer chooses none of them, so there are few. */
const MOST = 256

/**
 * Lets a sentence through that has not been said for a while. What a peer or a local program can bring about a thousand
 * times in a second must not fill the disk with a log.
 */
export class Hush {
  readonly #clock: Clock
  readonly #said = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether it may be said now. */
  allows(sentence: string): boolean {
    const now = this.#clock.now()
    const last = this.#said.get(sentence)
    if (last !== undefined && now - last < INTERVAL) return false
    this.#said.delete(sentence)
    this.#said.set(sentence, now)
    if (this.#said.size > MOST) {
      const [oldest] = this.#said.keys()
      if (oldest !== undefined) this.#said.delete(oldest)
    }
    return true
  }
}
