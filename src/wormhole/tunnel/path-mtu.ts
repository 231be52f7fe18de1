/** What every path carries: an IPv6 minimum of 1280 bytes less its headers, and what common tunnels leave of 1500. */
export const BASE_DATAGRAM = 1200

/**
 * Sizes that are tried, in bytes of UDP payload (RFC 8899): below common tunnels, 1500 with IPv6 and with IPv4, and
 * the most that the UDP library takes in. The library forbids the system to fragment.
 */
const SIZES = [1340, 1400, 1452, 1472, 2048] as const
export const LARGEST_DATAGRAM = 2048

/** A size is given up after so many losses. */
const TRIES = 3
/** After a search the path may have become wider: it is searched again after this long, in ms. */
const SEARCH_AGAIN = 600_000
/** So many time-outs in a row with large datagrams: perhaps they fall into a hole. */
const BLACK_HOLE = 3

/** How large a datagram may be. Starts small, tries more, and falls back when nothing comes through any more. */
export class PathMtu {
  /** Bytes of UDP payload that are known to come through. */
  size: number = BASE_DATAGRAM
  #place = 0
  #tries = 0
  #pending = false
  #searchAt = 0

  /** The size to try now; undefined if there is none, or one is under way. */
  probe(now: number): number | undefined {
    if (this.#pending) return undefined
    if (this.#place >= SIZES.length || this.#tries >= TRIES) {
      if (now < this.#searchAt) return undefined
      this.#restart()
    }
    while (this.#place < SIZES.length && (SIZES[this.#place] as number) <= this.size) this.#place++
    const size = SIZES[this.#place]
    if (size === undefined) this.#searchAt = now + SEARCH_AGAIN
    return size
  }

  sent(): void {
    this.#pending = true
  }

  acked(now: number, size: number): void {
    this.#pending = false
    this.#tries = 0
    this.#place++
    this.size = Math.max(this.size, size)
    this.#searchAt = now + SEARCH_AGAIN
  }

  lost(now: number): void {
    this.#pending = false
    this.#tries++
    this.#searchAt = now + SEARCH_AGAIN
  }

  /** Hears of each time-out. Returns true if the size was taken back. */
  timedOut(now: number, timeouts: number): boolean {
    if (timeouts < BLACK_HOLE || this.size === BASE_DATAGRAM) return false
    this.size = BASE_DATAGRAM
    this.#tries = TRIES
    this.#searchAt = now + SEARCH_AGAIN / 10
    return true
  }

  /** The path is another one. */
  reset(): void {
    this.size = BASE_DATAGRAM
    this.#pending = false
    this.#restart()
  }

  #restart(): void {
    this.#place = 0
    this.#tries = 0
  }
}
