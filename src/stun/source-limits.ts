import { isIPv4 } from 'node:net'
import { type Limit, prefixOf, scopeOf, TokenBucket } from '../net/index.js'

/**
 * How many requests from one network are answered: every one of 100 machines behind one carrier's address can measure its
 * NAT within a few seconds, while whoever forges the addresses of a network has no more than 8 kB a second sent there.
 */
export const SOURCE_LIMIT: Limit = { rate: 100, burst: 1000 }

/** Networks that are remembered at most. */
const MOST = 8192

/** What a server answers to whom, by the network of the source: a /24 of IPv4, a /64 of IPv6. Pure: the time (ms) is passed in. */
export class SourceLimits {
  readonly #networks = new Map<string, TokenBucket>()
  readonly #limit: Limit

  constructor(limit = SOURCE_LIMIT) {
    this.#limit = limit
  }

  /** Whether a request from there is answered, which then counts. Nobody elsewhere can forge the addresses of this machine. */
  allows(now: number, address: string): boolean {
    if (scopeOf(address) === 'loopback') return true
    const network = networkOf(address)
    let bucket = this.#networks.get(network)
    if (!bucket) {
      if (this.#networks.size >= MOST) this.#forget(now)
      bucket = new TokenBucket(this.#limit, now)
      this.#networks.set(network, bucket)
    }
    return bucket.take(now)
  }

  /** How many networks are remembered. */
  get size(): number {
    return this.#networks.size
  }

  /** Those that are as new go; if there is none, the oldest. */
  #forget(now: number): void {
    for (const [network, bucket] of this.#networks) {
      if (bucket.isFull(now)) this.#networks.delete(network)
    }
    for (const oldest of this.#networks.keys()) {
      if (this.#networks.size < MOST) break
      this.#networks.delete(oldest)
    }
  }
}

function networkOf(address: string): string {
  return isIPv4(address) ? address.slice(0, address.lastIndexOf('.')) : prefixOf(address)
}
