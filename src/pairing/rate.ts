import type { Clock } from '../net/index.js'

/** How many times something may happen in a window of time, for each of several that are told apart by a key. */
export class Rate {
  readonly #clock: Clock
  readonly #most: number
  readonly #window: number
  readonly #times = new Map<string, number[]>()

  /** @param window in ms */
  constructor(clock: Clock, most: number, window: number) {
    this.#clock = clock
    this.#most = most
    this.#window = window
  }

  /** Counts one and says whether it is within bounds; one that is not is not counted. */
  allows(key: string): boolean {
    const now = this.#clock.now()
    const recent = (this.#times.get(key) ?? []).filter((time) => now - time < this.#window)
    const allowed = recent.length < this.#most
    this.#times.set(key, allowed ? [...recent, now] : recent)
    return allowed
  }
}
