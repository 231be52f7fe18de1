import { RangeSet } from './ranges.js'

/** Runs of numbers that were passed over and may still come. */
const MAX_GAPS = 1024

/**
 * - `first`: it has come now
 * - `again`: it has come before
 * - `no room`: it cannot be remembered until something has come that was passed over
 */
export type Naming = 'first' | 'again' | 'no room'

/** The place of a stream or a flow among those of its side: even ids belong to the one side, odd ones to the other. */
export function placeOf(id: number): number {
  return (id - (id % 2)) / 2
}

/**
 * Which of its streams, or of its flows, the peer has named. It numbers them in turn, and names overtake each other on their
 * way: what was passed over costs nothing, however much that is.
 */
export class PeerNumbers {
  readonly #skipped = new RangeSet()
  #skippedCount = 0
  #next = 0

  /** How many have come. */
  get named(): number {
    return this.#next - this.#skippedCount
  }

  /** The number above all that have come. */
  get next(): number {
    return this.#next
  }

  /** @param place counted from 0, by one */
  has(place: number): boolean {
    return place < this.#next && !this.#skipped.has(place)
  }

  /** Takes the lowest that were passed over for ones that have come. */
  settle(): void {
    if (this.#skipped.size === 0) return
    this.#skippedCount -= this.#skipped.end(0) - this.#skipped.start(0)
    this.#skipped.shift()
  }

  /** @param place counted from 0, by one */
  name(place: number): Naming {
    if (this.has(place)) return 'again'
    if (place < this.#next) {
      const inside = this.#skipped.has(place - 1) && this.#skipped.has(place + 1)
      if (inside && this.#skipped.size >= MAX_GAPS) return 'no room'
      this.#skipped.remove(place, place + 1)
      this.#skippedCount--
      return 'first'
    }
    if (place > this.#next) {
      if (this.#skipped.size >= MAX_GAPS) return 'no room'
      this.#skipped.add(this.#next, place)
      this.#skippedCount += place - this.#next
    }
    this.#next = place + 1
    return 'first'
  }
}
