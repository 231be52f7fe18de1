import { MAX_LATENESS, Pacer } from './pacer.js'
import { Persistence } from './persistence.js'
import { Restraint } from './restraint.js'

/**
 * How fast to send: a model of the path as BBR has it (draft-ietf-ccwg-bbr), made smaller. The bottleneck's rate is the
 * highest delivery rate of late, its delay the lowest round-trip time; sending is paced at that rate and what is under
 * way is bounded by their product. Loss slows it down only when it is more than a bad radio link has by itself:
 * a controller that halves for each loss gets 6 Mbit/s out of 20 ms and 1 %.
 * Times in ms, rates in bytes per ms.
 */
export interface DeliveryState {
  readonly delivered: number
  readonly deliveredAt: number
  readonly firstSentAt: number
  readonly appLimited: boolean
}

interface Counted {
  readonly packet: number
  readonly size: number
  readonly sentAt: number
  readonly probe: boolean
  readonly state: DeliveryState
}

export type CongestionState = 'startup' | 'drain' | 'probe-bandwidth' | 'probe-rtt'

/** 2/ln 2: the least gain that doubles the rate each round. */
const STARTUP_GAIN = 2.885
const DRAIN_GAIN = 0.35
/** One round to look for more, one to drain what that queued, then to cruise. */
const CYCLE = [1.25, 0.75, 1, 1, 1, 1, 1, 1]
const WINDOW_GAIN = 2
/** If looking for more brought this much, it goes on. */
const STILL_MORE = 1.1

/** Datagrams under way before anything is known: what a TCP of today begins with, and a little more for its pacing. */
const INITIAL_WINDOW = 32
/** Processes on both ends wake up and acknowledge in batches: so long the path is to be kept full meanwhile, in ms. */
const HOST_ALLOWANCE = 4
/** No path of today holds more, in bytes, and a receiver's kernel buffers less. */
const MAX_WINDOW = 16 * 2 ** 20

/** The delivery rate is the highest of so many buckets, each of a round trip, at least 20 ms. */
const BUCKETS = 10
const MIN_BUCKET = 20

/** The lowest round-trip time counts for so long, in ms; then half a window for 100 ms shows whether it still holds. */
const MIN_RTT_LIFE = 10_000
const PROBE_RTT_TIME = 100

/** Round trips longer than the path's by so many ms, and by this factor, tell of a queue. */
const QUEUE_LEAST = 4
const QUEUE_FACTOR = 1.25

/** Datagrams that may always go in one burst. */
const MIN_BURST = 10

/** What batches of acknowledgements bring beyond the rate counts for this many round trips, at least 200 ms. */
const AGGREGATION_ROUNDS = 5
const AGGREGATION_LIFE = 200
/** And at most what the path carries in so many ms. */
const MAX_AGGREGATION = 50

export class Congestion {
  state: CongestionState = 'startup'
  /** Bytes under way. */
  inflight = 0
  /** Bytes of a datagram of full size. */
  datagram: number
  #delivered = 0
  #deliveredAt = 0
  #firstSentAt = 0
  #appLimitedUntil = 0
  #newest: Counted | undefined
  #buckets: number[] = new Array(BUCKETS).fill(0)
  #bucketEnd = 0
  #rate = 0
  #minRtt = Number.POSITIVE_INFINITY
  #minRttAt = 0
  #recentRtt = 0
  #roundEnd = 0
  #rounds = 0
  #fullRate = 0
  #fullRounds = 0
  #cycle = 0
  #cycleAt = 0
  #cycleRate = 0
  #probeRttUntil = 0
  /** Datagrams under way before anything is known: one after persistent congestion, and one more for each that arrives. */
  #initial = INITIAL_WINDOW
  #collapsedAt = Number.NEGATIVE_INFINITY
  readonly #restraint = new Restraint()
  readonly #persistence = new Persistence()
  readonly #pacer: Pacer
  /** The present run of acknowledgements faster than the rate, and the most that one brought: now and before. */
  #runAt = 0
  #runAcked = 0
  #aggregation: [number, number] = [0, 0]
  #aggregationEnd = 0
  #batch = 0

  constructor(datagram: number) {
    this.datagram = datagram
    this.#pacer = new Pacer(INITIAL_WINDOW * datagram)
  }

  /** The lowest round-trip time of late; Infinity before the first. */
  get minRtt(): number {
    return this.#minRtt
  }

  /** The rate of the path as far as it is known, 0 before. */
  get rate(): number {
    return Math.min(this.#rate, this.#restraint.ceiling)
  }

  /** How many bytes may be under way. */
  get window(): number {
    const { floor } = this.#restraint
    const least = floor * this.datagram
    if (this.#persistence.persistent) return this.datagram
    if (this.rate === 0) return this.#initial * this.datagram
    // in startup the rate is not yet known to which batches could be compared
    const product = this.rate * this.#minRtt
    const aggregated = this.state === 'startup' ? 0 : Math.max(...this.#aggregation)
    const spare = this.rate * HOST_ALLOWANCE + aggregated + Math.min(3, floor) * this.datagram
    if (this.state === 'probe-rtt') return Math.max(least, 0.5 * product + spare)
    const gain = this.state === 'startup' ? STARTUP_GAIN : WINDOW_GAIN
    const started = this.state === 'startup' ? this.#initial * this.datagram : least
    return Math.min(MAX_WINDOW, Math.max(started, gain * product + spare))
  }

  /** The rate to send at. */
  get pace(): number {
    const gain =
      this.state === 'startup'
        ? STARTUP_GAIN
        : this.state === 'drain'
          ? DRAIN_GAIN
          : this.state === 'probe-rtt'
            ? 1
            : (CYCLE[this.#cycle] as number)
    return gain * Math.max(this.rate, this.#floorRate)
  }

  /** The rate that is never undercut: in startup that of a fresh tunnel. */
  get #floorRate(): number {
    const datagrams = this.state === 'startup' ? this.#initial : this.#restraint.floor / 2
    const rtt = Number.isFinite(this.#minRtt) ? Math.max(this.#minRtt, 1) : 100
    return (datagrams * this.datagram) / rtt
  }

  /** A datagram of `size` bytes may go now. */
  admits(now: number, size: number): boolean {
    if (this.inflight + size > this.window) return false
    return this.#pacer.admits(now, this.pace, this.#burst)
  }

  /** When the pacing lets the next datagram go, in ms; Infinity while the window is full. */
  nextAt(now: number, size: number): number {
    if (this.inflight + size > this.window) return Number.POSITIVE_INFINITY
    return this.#pacer.nextAt(now, this.pace, this.#burst)
  }

  /** A datagram goes out. Returns what its acknowledgement is to be judged by. */
  sent(now: number, size: number): DeliveryState {
    if (this.inflight === 0) {
      this.#firstSentAt = now
      this.#deliveredAt = now
    }
    this.#pacer.spend(now, size, this.pace, this.#burst)
    this.inflight += size
    return {
      delivered: this.#delivered,
      deliveredAt: this.#deliveredAt,
      firstSentAt: this.#firstSentAt,
      appLimited: this.#appLimitedUntil > 0,
    }
  }

  /** There is nothing to send although more could go: the delivery rate says nothing about the path for a while. */
  starved(): void {
    if (this.inflight < this.window) this.#appLimitedUntil = Math.max(this.#delivered + this.inflight, 1)
  }

  measured(now: number, rtt: number): void {
    this.#recentRtt += (rtt - this.#recentRtt) / (this.#recentRtt === 0 ? 1 : 8)
    if (rtt <= this.#minRtt) {
      this.#minRtt = Math.max(rtt, 0.01)
      this.#minRttAt = now
    }
  }

  /** One packet was acknowledged; `settle` follows when all of the batch were. */
  acknowledged(now: number, sent: Counted): void {
    this.inflight -= sent.size
    this.#delivered += sent.size
    this.#deliveredAt = now
    if (!sent.state.appLimited) this.#restraint.acknowledged()
    if (sent.sentAt > this.#collapsedAt) {
      this.#persistence.acknowledged()
      if (this.#initial < INITIAL_WINDOW && !this.#persistence.persistent) this.#initial++
    }
    this.#batch += sent.size
    if (!this.#newest || sent.state.delivered >= this.#newest.state.delivered) this.#newest = sent
    if (this.#appLimitedUntil > 0 && this.#delivered > this.#appLimitedUntil) this.#appLimitedUntil = 0
  }

  /** Takes an acknowledgement, in ranges with both ends included, for what was taken for lost. */
  found(ranges: readonly (readonly [number, number])[]): void {
    this.#persistence.found(ranges)
  }

  /** @param timeout after so long without an acknowledgement something is wrong */
  lost(now: number, sent: Counted, timeout: number): void {
    this.inflight -= sent.size
    // what was sent before has had its consequence
    if (sent.probe || sent.sentAt <= this.#collapsedAt) return
    if (!sent.state.appLimited) this.#restraint.lost()
    if (this.#persistence.lost(now, sent.packet, timeout)) this.collapse(now)
  }

  /** After a batch of acknowledgements or losses: brings the model up to date. */
  settle(now: number): void {
    const sent = this.#newest
    this.#newest = undefined
    if (sent) {
      this.#aggregate(now)
      this.#sample(now, sent)
      this.#firstSentAt = sent.sentAt
      if (sent.state.delivered >= this.#roundEnd) {
        this.#roundEnd = this.#delivered
        this.#rounds++
        if (this.state === 'startup') this.#checkFull(sent)
      }
    }
    this.#checkLoss(now)
    this.#advance(now)
  }

  /** The path is another one: everything that was learnt is forgotten. */
  reset(now: number): void {
    this.#restart(now, INITIAL_WINDOW)
    this.#restraint.reset(now)
    this.#persistence.reset()
    this.#minRtt = Number.POSITIVE_INFINITY
    this.#minRttAt = now
    this.#recentRtt = 0
  }

  /**
   * Congestion is persistent: what was learnt of the rate is forgotten, and one datagram a round trip is where to begin
   * (RFC 9002 section 7.6.2, RFC 8085 section 3.1.1). What arrives of it doubles that each round, as in any startup.
   */
  collapse(now: number): void {
    this.#collapsedAt = now
    this.#restart(now, 1)
    this.#restraint.collapse(now)
    this.#aggregation = [0, 0]
    this.#runAt = now
    this.#runAcked = 0
  }

  #restart(now: number, datagrams: number): void {
    this.state = 'startup'
    this.#initial = datagrams
    this.#buckets.fill(0)
    this.#rate = 0
    this.#fullRate = 0
    this.#fullRounds = 0
    this.#pacer.reset(now, datagrams * this.datagram)
  }

  /** Bytes that may always go at once: in startup as many as a fresh tunnel sends. */
  get #burst(): number {
    return (this.state === 'startup' ? this.#initial : MIN_BURST) * this.datagram
  }

  /**
   * A busy peer, or a radio link, acknowledges in batches: what one brings beyond the rate must be under way besides,
   * or the rate falls to what the window allows (draft-ietf-ccwg-bbr section 5.5.9, extra_acked).
   */
  #aggregate(now: number): void {
    const batch = this.#batch
    this.#batch = 0
    if (this.#runAcked <= this.rate * (now - this.#runAt)) {
      this.#runAt = now
      this.#runAcked = 0
    }
    this.#runAcked += batch
    if (now >= this.#aggregationEnd) {
      this.#aggregation = [0, this.#aggregation[0]]
      this.#aggregationEnd = now + Math.max(AGGREGATION_LIFE, AGGREGATION_ROUNDS * this.#minRtt)
    }
    const extra = Math.min(this.#runAcked - this.rate * (now - this.#runAt), this.rate * MAX_AGGREGATION)
    this.#aggregation[0] = Math.max(this.#aggregation[0], extra)
  }

  /** draft-cheng-iccrg-delivery-rate-estimation, section 3.3. */
  #sample(now: number, sent: Counted): void {
    const { delivered, deliveredAt, firstSentAt, appLimited } = sent.state
    const interval = Math.max(sent.sentAt - firstSentAt, now - deliveredAt)
    if (interval <= 0 || interval < this.#minRtt * 0.9) return
    const rate = (this.#delivered - delivered) / interval
    if (appLimited && rate < this.#rate) return
    if (now >= this.#bucketEnd) {
      this.#buckets.pop()
      this.#buckets.unshift(0)
      this.#bucketEnd = now + Math.max(MIN_BUCKET, this.#minRtt)
    }
    this.#buckets[0] = Math.max(this.#buckets[0] as number, rate)
    this.#rate = Math.max(...this.#buckets)
  }

  /** The pipe is full when three rounds in a row brought less than a quarter more. */
  #checkFull(sent: Counted): void {
    if (sent.state.appLimited) return
    if (this.#rate >= this.#fullRate * 1.25) {
      this.#fullRate = this.#rate
      this.#fullRounds = 0
    } else if (++this.#fullRounds >= 3) this.state = 'drain'
  }

  #checkLoss(now: number): void {
    const queued = this.#recentRtt > Math.max(this.#minRtt + QUEUE_LEAST, this.#minRtt * QUEUE_FACTOR)
    const full = this.#restraint.judge(now, this.#minRtt, this.rate, this.#floorRate, queued)
    if (full && this.state === 'startup') this.state = 'drain'
  }

  #advance(now: number): void {
    const product = this.rate * this.#minRtt
    if (this.state === 'drain' && this.inflight <= product + this.rate * HOST_ALLOWANCE) this.#cruise(now)
    if (this.state === 'probe-bandwidth') this.#turn(now, product)
    if (this.state === 'probe-rtt') {
      if (now >= this.#probeRttUntil) {
        this.#minRttAt = now
        this.#cruise(now)
      }
    } else if (this.state !== 'startup' && now - this.#minRttAt > MIN_RTT_LIFE) {
      this.state = 'probe-rtt'
      this.#minRtt *= 1.5 // so that a path that became longer is seen as such
      this.#probeRttUntil = now + Math.max(PROBE_RTT_TIME, this.#minRtt)
    }
  }

  /** The next part of the cycle, when the present one has lasted a round trip. */
  #turn(now: number, product: number): void {
    const probing = this.#cycle === 0
    // what asking for more brings is known a round trip later, as long as those are with busy processes
    const round = probing ? Math.min(this.#recentRtt, this.#minRtt + MAX_LATENESS) : this.#minRtt
    const drained = this.#cycle === 1 && this.inflight <= product
    if (!drained && now - this.#cycleAt <= Math.max(round, HOST_ALLOWANCE)) return
    this.#cycleAt = now
    // it brought more: there may be more yet, as after a startup that a busy machine ended too early
    if (probing && this.rate >= this.#cycleRate * STILL_MORE) this.#cycleRate = this.rate
    else this.#cycle = (this.#cycle + 1) % CYCLE.length
    if (this.#cycle === 0 && !probing) this.#cycleRate = this.rate
  }

  #cruise(now: number): void {
    this.state = 'probe-bandwidth'
    this.#cycle = 2 + (this.#rounds % (CYCLE.length - 2))
    this.#cycleAt = now
  }
}
