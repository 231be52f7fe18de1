/** How much of something may happen: `burst` at once, and `rate` a second in the long run. */
export interface Limit {
  readonly rate: number
  readonly burst: number
}

/** A token bucket: pure, the time (ms, monotonic) is passed in. It is full at first. */
export class TokenBucket {
  readonly #limit: Limit
  #tokens: number
  #at: number

  constructor(limit: Limit, now: number) {
    this.#limit = limit
    this.#tokens = limit.burst
    this.#at = now
  }

  /** How many tokens there are now. */
  level(now: number): number {
    const { rate, burst } = this.#limit
    const passed = Math.max(0, now - this.#at)
    this.#tokens = Math.min(burst, this.#tokens + (rate * passed) / 1000)
    this.#at = Math.max(this.#at, now)
    return this.#tokens
  }

  /** Takes one token, and says whether there was one. */
  take(now: number): boolean {
    if (this.level(now) < 1) return false
    this.#tokens--
    return true
  }

  /** Gives tokens back. */
  refund(now: number, count: number): void {
    this.#tokens = Math.min(this.#limit.burst, this.level(now) + count)
  }

  /** How long until there is a token, in ms; 0 if there is one. */
  wait(now: number): number {
    const missing = 1 - this.level(now)
    return missing <= 0 ? 0 : (missing * 1000) / this.#limit.rate
  }

  /** Whether it is as it was at first: then it need not be remembered. */
  isFull(now: number): boolean {
    return this.level(now) >= this.#limit.burst
  }
}
