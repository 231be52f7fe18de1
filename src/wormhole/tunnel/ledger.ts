import { type Due, NEVER } from '../../net/index.js'
import type { Congestion } from './congestion.js'
import { persistenceAfter } from './persistence.js'
import { MAX_ACK_DELAY } from './received.js'
import type { RoundTrip } from './round-trip.js'
import { type SentPacket, SentPackets } from './sent-packets.js'

/** The time between two time-outs grows to this, in ms: a path that comes back is found soon. */
const MAX_TIMEOUT = 1500
/** And to this where it answered now and then, and took nothing after that: it is there, and takes next to nothing. */
const MAX_TIMEOUT_AGAIN = 3000
/** What a time-out sends again, in packets; and from this many time-outs in a row on, one. */
const AGAIN = 2
const MANY_TIMEOUTS = 3

/** What became of the packets sent: acknowledgement, loss, and time-outs (RFC 9002). */
export class Ledger {
  readonly #rtt: RoundTrip
  readonly #congestion: Congestion
  readonly #sent = new SentPackets()
  #largestAcked = -1
  #lossAt = Number.POSITIVE_INFINITY
  #lastSentAt = 0
  #ackedAt = 0
  /** Time-outs in a row before the last acknowledgement; 0 once a second one came without one between. */
  #earlierTimeouts = 0
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
    return this.#sent.empty
  }

  /** So much waits that nothing but a question should be added. */
  get full(): boolean {
    return this.#sent.full
  }

  add(sent: SentPacket): void {
    const { oldest } = this.#sent
    if (this.#sent.full && oldest) this.#lose(sent.sentAt, oldest)
    this.#sent.add(sent)
    this.#lastSentAt = sent.sentAt
    this.#checkSilence(sent.sentAt)
  }

  /**
   * Takes an acknowledgement.
   * @param ranges in descending order, both ends included
   * @returns the packets that it was the first to acknowledge
   */
  acknowledge(now: number, ranges: readonly (readonly [number, number])[], delay: number): SentPacket[] {
    const largest = (ranges[0] as readonly [number, number])[0]
    const acked: SentPacket[] = []
    for (let place = ranges.length - 1; place >= 0; place--) {
      const [high, low] = ranges[place] as readonly [number, number]
      this.#sent.settleRange(low, high, acked)
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
    this.#congestion.found(ranges)
    if (acked.length === 0) return acked
    this.#earlierTimeouts = this.timeouts
    this.timeouts = 0
    this.#ackedAt = now
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
    if (this.#sent.empty) return NEVER
    const timeoutAt = this.#timeoutAt()
    if (this.#lossAt <= timeoutAt) return { at: this.#lossAt, why: 'find what is lost' }
    return { at: timeoutAt, why: 'ask for an acknowledgement' }
  }

  /** Finds what is lost by now. Returns true if it timed out: then something should be sent at once. */
  tick(now: number): boolean {
    if (now >= this.#lossAt) this.#findLost(now)
    if (this.#sent.empty || now < this.#timeoutAt()) return false
    this.timeouts++
    // a few are tries, after an acknowledgement: from then on it waits as long as before
    if (this.timeouts === MANY_TIMEOUTS) this.timeouts = Math.max(MANY_TIMEOUTS, this.#earlierTimeouts)
    this.#lastSentAt = now
    this.#checkSilence(now)
    // the oldest go out again, without being counted as lost: they may only be late
    let again = this.again
    for (let sent = this.#sent.oldest; sent && again > 0; sent = this.#sent.after(sent)) {
      if (sent.resent) continue
      sent.resent = true
      again--
      for (const delivery of sent.deliveries) delivery.lost(now)
    }
    return true
  }

  /** Packets that go out again at a time-out, whatever is under way. */
  get again(): number {
    return this.timeouts < MANY_TIMEOUTS ? AGAIN : 1
  }

  /** The path is another one: what is under way on the old one is taken for lost. */
  abandon(now: number): void {
    for (let sent = this.#sent.oldest; sent; sent = this.#sent.oldest) this.#lose(now, sent)
    this.#lossAt = Number.POSITIVE_INFINITY
    this.timeouts = 0
    this.#earlierTimeouts = 0
  }

  /** The first time-out, in ms. */
  get #timeout(): number {
    return this.#rtt.timeout + MAX_ACK_DELAY
  }

  #timeoutAt(): number {
    const most = this.#earlierTimeouts >= MANY_TIMEOUTS ? MAX_TIMEOUT_AGAIN : MAX_TIMEOUT
    return this.#lastSentAt + Math.min(this.#timeout * 2 ** Math.min(this.timeouts, 10), most)
  }

  /** Nothing was acknowledged for so long although something waits for it: the congestion is persistent. */
  #checkSilence(now: number): void {
    const { oldest } = this.#sent
    if (!oldest) return
    const since = Math.max(oldest.sentAt, this.#ackedAt)
    if (now - since >= persistenceAfter(this.#timeout)) this.#congestion.collapse(now)
  }

  #findLost(now: number): void {
    const delay = this.#rtt.lossDelay
    this.#lossAt = Number.POSITIVE_INFINITY
    for (let sent = this.#sent.oldest; sent && sent.packet < this.#largestAcked; sent = this.#sent.oldest) {
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
    this.#sent.settle(sent)
    this.lost++
    this.#congestion.lost(now, sent, this.#timeout)
    if (sent.resent) return // a copy is on its way already
    for (const delivery of sent.deliveries) delivery.lost(now)
  }
}
