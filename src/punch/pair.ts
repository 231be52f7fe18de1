import type { Candidate } from './candidate.js'
import type { Probe } from './probe.js'
import { BACKOFF, CHECK_INTERVAL, CHECK_INTERVAL_MAX, EAGER_CHECKS, HEARD_INTERVAL } from './timing.js'
import { encodeTransportAddress } from './transport-address.js'

/** Counters of the latest datagrams to a pair that are kept to measure the round-trip time by. */
const SENT_KEPT = 16

/**
 * One socket of this side paired with one endpoint of the peer.
 * - `unheard`: nothing authentic has come from there.
 * - `heard`: something has; but whoever captures a fresh datagram may send it on from anywhere.
 * - `proven`: the challenge that was sent there, and only there, came back from there.
 */
export class Pair {
  readonly candidate: Candidate
  /** The socket: 0 is the one that the candidates of this side are of. */
  readonly socket: number
  /** 8 random bytes that go to this endpoint alone. */
  readonly challenge: Buffer
  /** The endpoint as it stands in datagrams. */
  readonly destination: Buffer
  progress: 'unheard' | 'heard' | 'proven' = 'unheard'
  /** The shortest round trip so far, in ms. */
  rtt: number | undefined
  /** The last challenge that came from there. */
  peerChallenge: Buffer | undefined
  /** The challenge of the peer's pair that answered this one's: what the peer knows this path by. */
  counterpart: Buffer | undefined
  /** This side's own endpoint as the peer addresses it, as it stands in datagrams. */
  observed: Buffer | undefined
  /** How many checks were sent. */
  checks = 0
  /** How many times it was nominated. */
  nominations = 0
  /** When the next check is due. */
  nextCheck: number
  /** The peer has asked for the next check, at `at` by the datagram of this counter: it is due beside the pace of the others. */
  triggered: { readonly at: number; readonly counter: number } | undefined
  #triggers = 0
  #lastCheck = Number.NEGATIVE_INFINITY
  #interval = CHECK_INTERVAL
  readonly #sent = new Map<number, number>()

  constructor(candidate: Candidate, socket: number, challenge: Buffer, now: number) {
    this.candidate = candidate
    this.socket = socket
    this.challenge = challenge
    this.destination = encodeTransportAddress(candidate.endpoint)
    this.nextCheck = now
  }

  /** Notes a datagram that goes to this pair. */
  sent(now: number, counter: number): void {
    this.#sent.set(counter, now)
    if (this.#sent.size <= SENT_KEPT) return
    for (const oldest of this.#sent.keys()) {
      this.#sent.delete(oldest)
      break
    }
  }

  /**
   * Notes a check, and when the next one is due.
   * @param steady the intervals do not grow yet
   */
  checked(now: number, steady = false): void {
    this.checks++
    this.triggered = undefined
    this.#lastCheck = now
    this.nextCheck = now + this.#interval
    if (steady) return
    this.#interval = Math.min(this.#interval * BACKOFF, CHECK_INTERVAL_MAX)
  }

  /**
   * The peer wants this endpoint checked (a triggered check, RFC 8445 section 7.3.1.4). Nothing has answered from there
   * yet, so it is no reason to send at once, nor more often than anyhow when it is asked for again and again.
   */
  trigger(now: number, counter: number): void {
    this.#triggers++
    const eager = this.#triggers <= EAGER_CHECKS
    if (!eager && this.progress === 'unheard') return
    const at = eager ? now : Math.max(now, this.#lastCheck + CHECK_INTERVAL)
    this.nextCheck = Math.min(this.nextCheck, at)
    this.triggered = { at: now, counter }
  }

  /** The check may not go out yet: it is due again at `at`. */
  postpone(at: number): void {
    this.nextCheck = at
  }

  /** Begins the retransmissions anew, with a check that is due at once. */
  restart(now: number): void {
    this.nextCheck = now
    this.#interval = CHECK_INTERVAL
  }

  /**
   * Takes from an authentic datagram from this endpoint what it says about the pair.
   * @returns what the pair has become by it
   */
  received(now: number, probe: Probe): 'heard' | 'proven' | undefined {
    this.peerChallenge = probe.challenge
    const echoed = this.challenge.equals(probe.echo)
    if (echoed) {
      this.observed = probe.observed
      this.counterpart = probe.challenge
      const sent = this.#sent.get(probe.echoCounter)
      if (sent !== undefined) this.rtt = Math.min(this.rtt ?? Number.POSITIVE_INFINITY, now - sent)
    }
    if (echoed && this.progress !== 'proven') {
      this.progress = 'proven'
      return 'proven'
    }
    if (this.progress !== 'unheard') return undefined
    this.progress = 'heard'
    this.#interval = HEARD_INTERVAL
    this.nextCheck = Math.min(this.nextCheck, now + HEARD_INTERVAL)
    return 'heard'
  }
}
