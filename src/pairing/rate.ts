import type { Clock } from '../net/index.js'

/** Keys that are looked through for the ones to forget; from then on whenever there are twice as many. */
const SWEEP_AT = 256

interface Bucket {
  /** What is left, of `most`. */
  tokens: number
  /** When that was so, in ms. */
  at: number
}

/**
 * How often something may happen, for each of several that are told apart by a key: a bucket that holds `most` and is
 * filled again evenly, as much in each window of time. What is full is forgotten.
 */
export class Rate {
  readonly #clock: Clock
  readonly #most: number
  readonly #window: number
  readonly #buckets = new Map<string, Bucket>()
  #sweepAt = SWEEP_AT

  /** @param window in ms */
  constructor(clock: Clock, most: number, window: number) {
    this.#clock = clock
    this.#most = most
    this.#window = window
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#buckets.size
  }

  /** Takes `cost` and says whether there was as much; else nothing is taken. */
  allows(key: string, cost = 1): boolean {
    const now = this.#clock.now()
    const tokens = this.#left(key, now)
    if (tokens < cost) return false
    this.#buckets.set(key, { tokens: tokens - cost, at: now })
    this.#sweep(now)
    return true
  }

  /** How long until there is as much as `cost`, in ms. */
  wait(key: string, cost = 1): number {
    const missing = cost - this.#left(key, this.#clock.now())
    return Math.max(0, (missing * this.#window) / this.#most)
  }

  #left(key: string, now: number): number {
    const bucket = this.#buckets.get(key)
    if (!bucket) return this.#most
    return Math.min(this.#most, bucket.tokens + ((now - bucket.at) * this.#most) / this.#window)
  }

  #sweep(now: number): void {
    if (this.#buckets.size < this.#sweepAt) return
    for (const key of this.#buckets.keys()) {
      if (this.#left(key, now) >= this.#most) this.#buckets.delete(key)
    }
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#buckets.size)
  }
}
