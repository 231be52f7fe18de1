import { MAX_ACK_RANGES } from './frame.js'
import { RangeSet } from './ranges.js'

/** How far behind the highest packet one may come and still count: 100 ms of reordering at full rate on a LAN. */
const WINDOW = 16384

/** An acknowledgement may wait this long for company, in ms. Counted by the peer in its time-outs. */
export const MAX_ACK_DELAY = 5

/** So many packets that want an acknowledgement get one at once. */
const ACK_EVERY = 8

/** Which packets of the peer came: each counts once (RFC 6479), and is acknowledged. */
export class Received {
  readonly #bits = new Uint32Array(WINDOW / 32)
  readonly #ranges = new RangeSet()
  #highest = -1
  /** The highest that is acknowledged, and when it came. */
  #newest = -1
  #newestAt = 0
  #unacknowledged = 0
  #hurry = false
  #weight = 0
  /** When an acknowledgement is due, in ms; Infinity when none is. */
  dueAt = Number.POSITIVE_INFINITY

  /** The highest packet number so far, -1 before the first. */
  get highest(): number {
    return this.#highest
  }

  /** The highest of those that are acknowledged, -1 before the first. */
  get newest(): number {
    return this.#newest
  }

  /** True for a packet number that was there before, or is too old to say. Marks nothing: it may be forged. */
  seen(packet: number): boolean {
    if (packet > this.#highest) return false
    if (packet <= this.#highest - WINDOW) return true
    return ((this.#bits[(packet % WINDOW) >>> 5] as number) & (1 << (packet & 31))) !== 0
  }

  /** Marks an authentic packet that was not acceptable now: the peer is to send it again, under another number. */
  drop(packet: number): void {
    this.#mark(packet)
  }

  /**
   * Marks an authentic packet.
   * @param eliciting its sender waits for an acknowledgement
   * @param size in bytes
   */
  add(packet: number, eliciting: boolean, now: number, size = 0): void {
    this.#weight += size
    // a gap: something is lost or late, and the peer should know soon
    if (eliciting && packet !== this.#highest + 1) this.#hurry = true
    this.#mark(packet)
    if (packet > this.#newest) {
      this.#newest = packet
      this.#newestAt = now
    }
    this.#ranges.add(packet, packet + 1)
    if (this.#ranges.size > MAX_ACK_RANGES) this.#ranges.shift()
    if (!eliciting) return
    this.#unacknowledged++
    if (this.#unacknowledged === 1) this.dueAt = now + MAX_ACK_DELAY
    if (this.#hurry || this.#unacknowledged >= ACK_EVERY) this.dueAt = now
  }

  /** An acknowledgement is due. */
  due(now: number): boolean {
    return now >= this.dueAt
  }

  /** One could be sent along. */
  get wanted(): boolean {
    return this.#unacknowledged > 0
  }

  /** Bytes that an acknowledgement may take: it is in proportion to what it acknowledges, whatever gaps that leaves. */
  get room(): number {
    return 2 * this.#weight
  }

  get rangeCount(): number {
    return this.#ranges.size
  }

  /** The ranges in descending order, both ends included. */
  readonly range = (index: number): readonly [number, number] => {
    const place = this.#ranges.size - 1 - index
    return [this.#ranges.end(place) - 1, this.#ranges.start(place)]
  }

  /** How long ago the newest packet came, in ms. */
  age(now: number): number {
    return now - this.#newestAt
  }

  /** An acknowledgement is on its way. */
  acknowledged(): void {
    this.#unacknowledged = 0
    this.#weight = 0
    this.#hurry = false
    this.dueAt = Number.POSITIVE_INFINITY
  }

  /** The peer knows of everything up to this packet: it need not be told again. */
  forget(upTo: number): void {
    if (upTo >= this.#newest) upTo = this.#newest - 1 // the newest range stays, to begin an acknowledgement with
    this.#ranges.remove(0, upTo + 1)
  }

  #mark(packet: number): void {
    if (packet > this.#highest) {
      this.#clear(this.#highest + 1, packet)
      this.#highest = packet
    }
    const word = (packet % WINDOW) >>> 5
    this.#bits[word] = (this.#bits[word] as number) | (1 << (packet & 31))
  }

  /** Forgets what stood in the places of `from` up to, without, `to`: whole words wherever that goes. */
  #clear(from: number, to: number): void {
    if (to - from >= WINDOW) {
      this.#bits.fill(0)
      return
    }
    for (let at = from; at < to; ) {
      const bit = at & 31
      const count = Math.min(32 - bit, to - at)
      const word = (at % WINDOW) >>> 5
      if (count === 32) this.#bits[word] = 0
      else this.#bits[word] = (this.#bits[word] as number) & ~((2 ** count - 1) << bit)
      at += count
    }
  }
}
