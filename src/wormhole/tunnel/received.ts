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
  #highestAt = 0
  #unacknowledged = 0
  #hurry = false
  /** When an acknowledgement is due, in ms; Infinity when none is. */
  dueAt = Number.POSITIVE_INFINITY

  /** The highest packet number so far, -1 before the first. */
  get highest(): number {
    return this.#highest
  }

  /** True for a packet number that was there before, or is too old to say. Marks nothing: it may be forged. */
  seen(packet: number): boolean {
    if (packet > this.#highest) return false
    if (packet <= this.#highest - WINDOW) return true
    return ((this.#bits[(packet % WINDOW) >>> 5] as number) & (1 << (packet & 31))) !== 0
  }

  /** Marks an authentic packet. `eliciting`: its sender waits for an acknowledgement. */
  add(packet: number, eliciting: boolean, now: number): void {
    if (packet > this.#highest) {
      if (packet - this.#highest >= WINDOW) this.#bits.fill(0)
      else for (let fresh = this.#highest + 1; fresh < packet; fresh++) this.#clear(fresh)
      // a gap: something is lost or late, and the peer should know soon
      if (eliciting && packet !== this.#highest + 1) this.#hurry = true
      this.#highest = packet
      this.#highestAt = now
    } else if (eliciting) this.#hurry = true
    const word = (packet % WINDOW) >>> 5
    this.#bits[word] = (this.#bits[word] as number) | (1 << (packet & 31))
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

  get rangeCount(): number {
    return this.#ranges.size
  }

  /** The ranges in descending order, both ends included. */
  readonly range = (index: number): readonly [number, number] => {
    const place = this.#ranges.size - 1 - index
    return [this.#ranges.end(place) - 1, this.#ranges.start(place)]
  }

  /** How long ago the highest packet came, in ms. */
  age(now: number): number {
    return now - this.#highestAt
  }

  /** An acknowledgement is on its way. */
  acknowledged(): void {
    this.#unacknowledged = 0
    this.#hurry = false
    this.dueAt = Number.POSITIVE_INFINITY
  }

  /** The peer knows of everything up to this packet: it need not be told again. */
  forget(upTo: number): void {
    if (upTo >= this.#highest) upTo = this.#highest - 1 // the newest range stays, to begin an acknowledgement with
    this.#ranges.remove(0, upTo + 1)
  }

  #clear(packet: number): void {
    const word = (packet % WINDOW) >>> 5
    this.#bits[word] = (this.#bits[word] as number) & ~(1 << (packet & 31))
  }
}
