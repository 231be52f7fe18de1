import { type Due, NEVER } from '../../net/index.js'
import type { Congestion, DeliveryState } from './congestion.js'
import { MAX_ACK_DELAY } from './received.js'
import type { RoundTrip } from './round-trip.js'

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
  before: SentPacket | undefined
  after: SentPacket | undefined
}

/** The time between two time-outs grows to this, in ms: a path that comes back is found soon. */
const MAX_TIMEOUT = 1500

/** What became of the packets sent: acknowledgement, loss, and time-outs (RFC 9002). */
export class Ledger {
  readonly #rtt: RoundTrip
  readonly #congestion: Congestion
  #first: SentPacket | undefined
  #last: SentPacket | undefined
  #largestAcked = -1
  #lossAt = Number.POSITIVE_INFINITY
  #lastSentAt = 0
  /** Time-outs in a row. */
  timeouts = 0
  /** Packets that were found lost. */
  lost = 0

  constructor(rtt: RoundTrip, congestion: Congestion) {
    this.#rtt = rtt
    this.#congestion = congestion
  }

  /** Nothing waits for an acknowledgement. */
  get empty(): boolean {
    return this.#first === undefined
  }

  add(sent: SentPacket): void {
    sent.before = this.#last
    if (this.#last) this.#last.after = sent
    else this.#first = sent
    this.#last = sent
    this.#lastSentAt = sent.sentAt
  }

  /**
   * Takes an acknowledgement.
   * @param ranges in descending order, both ends included
   * @returns the packets that it was the first to acknowledge
   */
  acknowledge(now: number, ranges: readonly (readonly [number, number])[], delay: number): SentPacket[] {
    const largest = (ranges[0] as readonly [number, number])[0]
    const acked: SentPacket[] = []
    let place = ranges.length - 1
    let next = this.#first
    while (next && next.packet <= largest) {
      const sent = next
      next = sent.after
      while (place > 0 && (ranges[place] as readonly [number, number])[0] < sent.packet) place--
      const [high, low] = ranges[place] as readonly [number, number]
      if (sent.packet < low || sent.packet > high) continue
      this.#remove(sent)
      acked.push(sent)
    }
    if (largest > this.#largestAcked) {
      this.#largestAcked = largest
      const newest = acked[acked.length - 1]
      if (newest?.packet === largest) {
        const sample = now - newest.sentAt
        // what the peer waited counts only as far as it promised, and never below what is possible
        this.#rtt.add(
          Math.max(sample - Math.min(delay, MAX_ACK_DELAY), Math.min(sample, this.#congestion.minRtt)),
        )
        this.#congestion.measured(now, sample)
      }
    }
    if (acked.length === 0) return acked
    this.timeouts = 0
    for (const sent of acked) {
      this.#congestion.acknowledged(now, sent)
      for (const delivery of sent.deliveries) delivery.acked(now)
    }
    this.#congestion.settle(now)
    this.#findLost(now)
    return acked
  }

  /** When `tick` wants to be called, and why. */
  get due(): Due<'find what is lost' | 'ask for an acknowledgement'> {
    if (!this.#first) return NEVER
    const timeoutAt = this.#timeoutAt()
    if (this.#lossAt <= timeoutAt) return { at: this.#lossAt, why: 'find what is lost' }
    return { at: timeoutAt, why: 'ask for an acknowledgement' }
  }

  /** Finds what is lost by now. Returns true if it timed out: then something should be sent at once. */
  tick(now: number): boolean {
    if (now >= this.#lossAt) this.#findLost(now)
    if (!this.#first || now < this.#timeoutAt()) return false
    this.timeouts++
    this.#lastSentAt = now
    // the oldest two go out again, without being counted as lost: they may only be late
    let again = 2
    for (let sent: SentPacket | undefined = this.#first; sent && again > 0; sent = sent.after) {
      if (sent.resent) continue
      sent.resent = true
      again--
      for (const delivery of sent.deliveries) delivery.lost(now)
    }
    return true
  }

  /** The path is another one: what is under way on the old one is taken for lost. */
  abandon(now: number): void {
    for (let sent = this.#first; sent; sent = sent.after) this.#lose(now, sent)
    this.#lossAt = Number.POSITIVE_INFINITY
    this.timeouts = 0
  }

  #timeoutAt(): number {
    const timeout = (this.#rtt.timeout + MAX_ACK_DELAY) * 2 ** Math.min(this.timeouts, 10)
    return this.#lastSentAt + Math.min(timeout, MAX_TIMEOUT)
  }

  #findLost(now: number): void {
    const delay = this.#rtt.lossDelay
    this.#lossAt = Number.POSITIVE_INFINITY
    let next = this.#first
    while (next && next.packet < this.#largestAcked) {
      const sent = next
      next = sent.after
      if (sent.sentAt + delay > now) {
        // packets lie in the order in which they were sent: the later ones are younger
        this.#lossAt = sent.sentAt + delay
        break
      }
      this.#lose(now, sent)
    }
    this.#congestion.settle(now)
  }

  #lose(now: number, sent: SentPacket): void {
    this.#remove(sent)
    this.lost++
    this.#congestion.lost(sent)
    if (sent.resent) return // a copy is on its way already
    for (const delivery of sent.deliveries) delivery.lost(now)
  }

  #remove(sent: SentPacket): void {
    if (sent.before) sent.before.after = sent.after
    else this.#first = sent.after
    if (sent.after) sent.after.before = sent.before
    else this.#last = sent.before
  }
}
