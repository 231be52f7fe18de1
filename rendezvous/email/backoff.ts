import { type Clock, type Random, sleep } from '../../src/net/index.js'

/** Waits that double from the first to the last, in ms, each between half and one and a half of that. */
export class Backoff {
  readonly #clock: Clock
  readonly #random: Random
  readonly #first: number
  readonly #last: number
  #next: number

  constructor(clock: Clock, random: Random, { first, last }: { first: number; last: number }) {
    this.#clock = clock
    this.#random = random
    this.#first = first
    this.#last = last
    this.#next = first
  }

  /** Begins anew: it worked. */
  reset(): void {
    this.#next = this.#first
  }

  /** @throws the signal's reason */
  async wait(signal: AbortSignal): Promise<void> {
    const ms = this.#next * (0.5 + this.#random(2).readUInt16BE() / 65_536)
    this.#next = Math.min(this.#next * 2, this.#last)
    await sleep(this.#clock, ms, signal)
  }
}
