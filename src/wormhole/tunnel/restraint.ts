/** Loss beyond this share is taken for a full queue while round trips are longer than the path's, and beyond that one by itself. */
const LOSS_LIMIT = 0.04
const LOSS_ALONE = 0.15

/** A sample of the loss lasts this many round trips and packets, or as many round trips with few packets. */
const ROUNDS = 2
const PACKETS = 200
const SLOW_ROUNDS = 10
const FEW_PACKETS = 8

/** A sample that loses much takes away at most this much of the rate: a burst may be an accident. One that does not gives back. */
const LEAST_SHARE = 0.75
const RETURN = 1.25
/** What was learnt so long ago, in ms, is not believed any more. */
const LIFE = 10_000

/**
 * Datagrams a round trip that may always be under way: fewer, and acknowledgements that come in batches stop the flow.
 * While the path loses even those it falls, to one a round trip (RFC 8085 section 3.1.1).
 */
const MOST_FLOOR = 16

/**
 * What loss forbids: a ceiling for the rate, and how far the floor has fallen. Only packets sent at full speed count: what
 * a side loses that has little to say tells nothing about what the path would carry. Times in ms, rates in bytes per ms.
 */
export class Restraint {
  /** No rate beyond this. */
  ceiling = Number.POSITIVE_INFINITY
  /** Datagrams that may be under way whatever the rate, 1 to 16. */
  floor = MOST_FLOOR
  #at = 0
  #learntAt = 0
  #acked = 0
  #lost = 0

  acknowledged(): void {
    this.#acked++
  }

  lost(): void {
    this.#lost++
  }

  /**
   * Judges the sample when there is one.
   * @param rate the present one; @param floorRate the one that the floor gives
   * @param queued round trips are longer than the path's
   * @returns true if the path was found full
   */
  judge(now: number, rtt: number, rate: number, floorRate: number, queued: boolean): boolean {
    if (now - this.#learntAt > LIFE) this.ceiling = Number.POSITIVE_INFINITY
    const total = this.#acked + this.#lost
    const rounds = (now - this.#at) / rtt
    if (rounds < (total >= PACKETS ? ROUNDS : SLOW_ROUNDS)) return false
    const loss = this.#lost / Math.max(1, total)
    this.#at = now
    this.#acked = 0
    this.#lost = 0
    if (total < FEW_PACKETS) return false
    const full = loss > (queued ? LOSS_LIMIT : LOSS_ALONE)
    if (full) {
      // what arrived is what the path takes
      this.ceiling = rate * Math.max(1 - loss, LEAST_SHARE)
      this.#learntAt = now
      if (rate <= floorRate) this.floor = Math.max(1, this.floor / 2)
    } else {
      this.ceiling *= RETURN
      this.floor = Math.min(MOST_FLOOR, this.floor * 2)
    }
    return full
  }

  /** The path is another one. */
  reset(now: number): void {
    this.#begin(now, MOST_FLOOR)
  }

  /** Congestion is persistent: what arrives from here on tells the rate, and nothing is granted besides. */
  collapse(now: number): void {
    this.#begin(now, 1)
  }

  #begin(now: number, floor: number): void {
    this.ceiling = Number.POSITIVE_INFINITY
    this.floor = floor
    this.#at = now
    this.#acked = 0
    this.#lost = 0
  }
}
