import { timingSafeEqual } from 'node:crypto'
import { type Endpoint, type Random, sameEndpoint } from '../../net/index.js'
import { CHALLENGE_LENGTH } from './frame.js'

/** The least time between two challenges to one address, in ms. */
const CHALLENGE_INTERVAL = 50

interface Candidate {
  readonly endpoint: Endpoint
  readonly value: Buffer
  challengedAt: number
}

/**
 * Where the peer is. An authentic datagram from elsewhere is a reason to ask, not to follow: it may be a copy that
 * somebody else sent on, so the other address must first give back a value that nobody could guess (RFC 9000 section 8.2).
 * At most one challenge goes there for each authentic datagram that came from there, never longer than that.
 */
export class Path {
  readonly #random: Random
  #remote: Endpoint
  #candidate: Candidate | undefined

  constructor(remote: Endpoint, random: Random) {
    this.#remote = remote
    this.#random = random
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
      this.#candidate = undefined // the known path lives: whatever came from elsewhere was a copy, or a way that ended
      return undefined
    }
    if (!this.#candidate || !sameEndpoint(this.#candidate.endpoint, from)) {
      const value = Buffer.from(this.#random(CHALLENGE_LENGTH))
      this.#candidate = { endpoint: from, value, challengedAt: Number.NEGATIVE_INFINITY }
    }
    const candidate = this.#candidate
    if (now - candidate.challengedAt < CHALLENGE_INTERVAL) return undefined
    candidate.challengedAt = now
    return { to: from, value: candidate.value }
  }

  /** A value came back. Returns true if the peer is somewhere else from now on. */
  answered(value: Buffer, from: Endpoint): boolean {
    const candidate = this.#candidate
    if (!candidate || !sameEndpoint(candidate.endpoint, from) || !timingSafeEqual(candidate.value, value))
      return false
    this.#remote = candidate.endpoint
    this.#candidate = undefined
    return true
  }
}
