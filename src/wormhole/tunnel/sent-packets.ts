import type { DeliveryState } from './congestion.js'

/** Something reliable that went out in a packet: it hears what became of it, perhaps of several copies. */
export interface Delivery {
  acked(now: number): void
  lost(now: number): void
}

/** A packet that waits for its acknowledgement. */
export interface SentPacket {
  readonly packet: number
  /** Bytes on the wire. */
  readonly size: number
  readonly sentAt: number
  readonly deliveries: readonly Delivery[]
  /** The highest packet of the peer that it acknowledged, or -1. */
  readonly acknowledges: number
  /** Tries a larger datagram: its loss says nothing about the path's load. */
  readonly probe: boolean
  readonly state: DeliveryState
  /** Its deliveries were sent again to be safe. */
  resent: boolean
  /** Where it lies among those sent. */
  place: number
}

/** The first packets have room for so many. */
const FEW = 256

/**
 * From the oldest packet under way to the newest there are at most so many: what 600 Mbit/s hold on a round trip of 600 ms.
 * A peer that never acknowledges one of them cannot have all later ones remembered.
 */
export const MOST_UNDER_WAY = 32_768

/**
 * The packets under way, in a ring by the order in which they were sent, which is that of their numbers. To find a number
 * takes a binary search, and stretches of which everything is settled are skipped: so an acknowledgement costs what it
 * settles, and a little for each range that it names, however much is under way.
 */
export class SentPackets {
  #ring: (SentPacket | undefined)[] = new Array(FEW).fill(undefined)
  /** The number at each place, also where it is settled. */
  #numbers = new Float64Array(FEW)
  /** Where to go on from a place that is settled. */
  #next = new Float64Array(FEW)
  #mask = FEW - 1
  /** The place of the oldest that is under way, and the one behind the newest. */
  #first = 0
  #end = 0

  get empty(): boolean {
    return this.#first === this.#end
  }

  /** No other one can be added before the oldest is settled. */
  get full(): boolean {
    return this.#end - this.#first >= MOST_UNDER_WAY
  }

  get oldest(): SentPacket | undefined {
    return this.#ring[this.#first & this.#mask]
  }

  /** Adds one whose number is above all others. Not while it is full. */
  add(sent: SentPacket): void {
    if (this.#end - this.#first > this.#mask) this.#grow()
    const slot = this.#end & this.#mask
    sent.place = this.#end++
    this.#ring[slot] = sent
    this.#numbers[slot] = sent.packet
  }

  /** The next younger one. */
  after(sent: SentPacket): SentPacket | undefined {
    const place = this.#unsettled(Math.max(sent.place + 1, this.#first))
    return place < this.#end ? this.#ring[place & this.#mask] : undefined
  }

  /** Takes one out. */
  settle(sent: SentPacket): void {
    const slot = sent.place & this.#mask
    if (this.#ring[slot] !== sent) return
    this.#ring[slot] = undefined
    this.#next[slot] = sent.place + 1
    if (sent.place === this.#first) this.#first = this.#unsettled(this.#first)
  }

  /** Takes out all from the number `low` to `high`, both included, and adds them to `settled` in ascending order. */
  settleRange(low: number, high: number, settled: SentPacket[]): void {
    let place = this.#unsettled(this.#placeOf(low))
    while (place < this.#end && (this.#numbers[place & this.#mask] as number) <= high) {
      const sent = this.#ring[place & this.#mask] as SentPacket
      settled.push(sent)
      this.settle(sent)
      place = this.#unsettled(place + 1)
    }
  }

  /** The first place at or behind this one that is not settled. What it passes is made shorter for the next time. */
  #unsettled(place: number): number {
    let found = place
    while (found < this.#end && this.#ring[found & this.#mask] === undefined)
      found = this.#next[found & this.#mask] as number
    while (place < found) {
      const slot = place & this.#mask
      place = this.#next[slot] as number
      this.#next[slot] = found
    }
    return found
  }

  /** The place of the lowest number that is not below this one. */
  #placeOf(packet: number): number {
    let low = this.#first
    let high = this.#end
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((this.#numbers[middle & this.#mask] as number) >= packet) high = middle
      else low = middle + 1
    }
    return low
  }

  #grow(): void {
    const length = 2 * (this.#mask + 1)
    const ring: (SentPacket | undefined)[] = new Array(length).fill(undefined)
    const numbers = new Float64Array(length)
    const next = new Float64Array(length)
    for (let place = this.#first; place < this.#end; place++) {
      const [from, to] = [place & this.#mask, place & (length - 1)]
      ring[to] = this.#ring[from]
      numbers[to] = this.#numbers[from] as number
      next[to] = this.#next[from] as number
    }
    this.#ring = ring
    this.#numbers = numbers
    this.#next = next
    this.#mask = length - 1
  }
}
