/**
 * How far behind the highest counter a datagram may come and still count: all of a search (MAX_SEARCH_PACKETS), whose
 * sockets are read in any order, and seconds of reordering.
 */
const WINDOW = 4096

/**
 * Which counters of the peer were seen: a sliding window as in RFC 6479. A datagram counts once; one that is older
 * than the window counts as seen.
 */
export class ReplayWindow {
  readonly #bits = new Uint32Array(WINDOW / 32)
  /** The highest counter seen, -1 before the first. */
  #highest = -1

  /** Marks a counter (an integer from 0) as seen. Returns false if it was seen before or is too old. */
  accept(counter: number): boolean {
    if (counter <= this.#highest - WINDOW) return false
    if (counter > this.#highest) {
      // what slides into the window has not been seen; a jump beyond it empties it
      if (counter - this.#highest >= WINDOW) this.#bits.fill(0)
      else for (let fresh = this.#highest + 1; fresh < counter; fresh++) this.#clear(fresh)
      this.#clear(counter)
      this.#highest = counter
    }
    const word = (counter % WINDOW) >>> 5
    const bit = 1 << (counter & 31)
    const bits = this.#bits[word] ?? 0
    if (bits & bit) return false
    this.#bits[word] = bits | bit
    return true
  }

  #clear(counter: number): void {
    const word = (counter % WINDOW) >>> 5
    this.#bits[word] = (this.#bits[word] ?? 0) & ~(1 << (counter & 31))
  }
}
