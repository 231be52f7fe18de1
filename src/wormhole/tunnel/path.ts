import { timingSafeEqual } from 'node:crypto'
import { type Allowance, type Endpoint, type Random, sameEndpoint } from '../../net/index.js'
import { CHALLENGE_LENGTH } from './frame.js'

/** The least time between two challenges, to whatever addresses, in ms. */
const CHALLENGE_INTERVAL = 50

/** So many addresses may still give back their challenge: copies from others do not make the peer's own be forgotten. */
const MOST_CANDIDATES = 4

/** An address that was challenged. */
interface Candidate {
  readonly endpoint: Endpoint
  readonly value: Buffer
}

/**
 * Where the peer is. An authentic datagram from elsewhere is a reason to ask, not to follow: it may be a copy that
 * somebody else sent on, so the other address must first give back a value that nobody could guess (RFC 9000 section 8.2).
 * At most one challenge goes there for each authentic datagram that came from there, never longer than that, and whatever
 * the number of addresses and tunnels, no more than the governor of the process lets through.
 */
export class Path {
  readonly #random: Random
  #remote: Endpoint
  readonly #allowance: Allowance | undefined
  /** The latest last. */
  #candidates: readonly Candidate[] = []
  #challengedAt = Number.NEGATIVE_INFINITY

  constructor(remote: Endpoint, random: Random, allowance?: Allowance) {
    this.#remote = remote
    this.#random = random
    this.#allowance = allowance
  }

  /** Where everything is sent. */
  get remote(): Endpoint {
    return this.#remote
  }

  /**
   * An authentic datagram came, the newest of all so far.
   * @returns the challenge to send to where it came from, if it is to be asked
   */
  heard(now: number, from: Endpoint): { readonly to: Endpoint; readonly value: Buffer } | undefined {
    if (sameEndpoint(from, this.#remote)) {
      this.#candidates = [] // the known path lives: whatever came from elsewhere was a copy, or a way that ended
      return undefined
    }
    if (now - this.#challengedAt < CHALLENGE_INTERVAL) return undefined
    if (this.#allowance !== undefined && this.#allowance.take(now, from, 'check') > 0) return undefined
    this.#challengedAt = now
    const known = this.#candidates.find(({ endpoint }) => sameEndpoint(endpoint, from))
    const candidate = known ?? { endpoint: from, value: Buffer.from(this.#random(CHALLENGE_LENGTH)) }
    const others = this.#candidates.filter((one) => one !== known)
    this.#candidates = [...others, candidate].slice(-MOST_CANDIDATES)
    return { to: from, value: candidate.value }
  }

  /** A value came back. Returns true if the peer is somewhere else from now on. */
  answered(now: number, value: Buffer, from: Endpoint): boolean {
    const candidate = this.#candidates.find(({ endpoint }) => sameEndpoint(endpoint, from))
    if (!candidate || !timingSafeEqual(candidate.value, value)) return false
    this.#allowance?.answered(now, from.address)
    this.#remote = candidate.endpoint
    this.#candidates = []
    return true
  }
}
