/** Before anything was measured, in ms: most paths are shorter, and a time-out too early costs one datagram. */
const INITIAL = 200

/** Clocks and timers of the two sides are not finer than this, in ms. */
export const GRANULARITY = 1

/** The round-trip time, smoothed as in RFC 9002 section 5. Times in ms. */
export class RoundTrip {
  #smoothed: number | undefined
  #variation = INITIAL / 2
  latest = INITIAL

  /** Undefined until something was measured. */
  get measured(): number | undefined {
    return this.#smoothed
  }

  get smoothed(): number {
    return this.#smoothed ?? INITIAL
  }

  /** Takes a measurement, without what the peer waited before it acknowledged. */
  add(sample: number): void {
    this.latest = sample
    if (this.#smoothed === undefined) {
      this.#smoothed = sample
      this.#variation = sample / 2
      return
    }
    this.#variation += (Math.abs(this.#smoothed - sample) - this.#variation) / 4
    this.#smoothed += (sample - this.#smoothed) / 8
  }

  /** After this long without an acknowledgement something is wrong (RFC 9002 section 6.2.1), less the peer's wait. */
  get timeout(): number {
    return this.smoothed + Math.max(4 * this.#variation, GRANULARITY)
  }

  /**
   * A packet is lost when a later one was acknowledged and it is this old: a quarter more than a round trip bears
   * some reordering, and on the shortest paths the wake-ups of two processes.
   */
  get lossDelay(): number {
    return Math.max(Math.max(this.smoothed, this.latest) * 1.25, 2 * GRANULARITY)
  }

  /** The path is another one. */
  reset(): void {
    this.#smoothed = undefined
    this.#variation = INITIAL / 2
    this.latest = INITIAL
  }
}
