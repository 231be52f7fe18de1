import { type Endpoint, prefixOf } from './endpoint.js'
import { type Limit, TokenBucket } from './token-bucket.js'

/**
 * What all sessions of a process together may send to endpoints that have not answered: packets, and ports where it says
 * so, at once and a second in the long run. An address is one of IPv4, or a /64 of IPv6.
 */
export const GOVERNOR_LIMITS = {
  /** In all: one packet in 4 ms, near the 5 ms that RFC 8445 (section 14.2) sets for an agent; a burst of sockets goes at once. */
  all: { rate: 250, burst: 512 },
  /** To one address, whether or not it has answered: a search, its bursts, and the checks beside it. */
  address: { rate: 120, burst: 512 },
  /** Checks to one address that has not answered, at once: the first ones of sixteen sessions with peers behind one NAT. */
  checksAtOnce: { rate: 40, burst: 100 },
  /** The same in the long run: four endpoints of it for a minute. */
  checks: { rate: 10, burst: 600 },
  /** Packets of searches to one address that has not answered: two whole searches. */
  searches: { rate: 10, burst: 6000 },
  /** Different ports of one address that has not answered, beside a search. */
  ports: { rate: 0.2, burst: 64 },
  /** Different ports of one address in a search, or once it has answered: two whole searches. */
  searchedPorts: { rate: 8, burst: 4600 },
  /** For one identity, to addresses that have not answered it. */
  identity: { rate: 14, burst: 8000 },
} as const satisfies Record<string, Limit>

/** What an identity is always given at once, whatever others have used up. */
const SHARE_BURST = 32
/** Kept for identities that come later: nobody may borrow the last of what there is. */
const RESERVE = 2 * SHARE_BURST
/** An identity counts as active for so long after it last asked, in ms. */
const ACTIVE = 2000
/** How long an address that answered counts as one that does, in ms. */
const ANSWERED = 10 * 60_000
/** Addresses and identities that are remembered at most; those of whom nothing is owed are forgotten first. */
const MOST_ADDRESSES = 4096
const MOST_IDENTITIES = 1024
/** From so many on, those of whom nothing is owed are looked for whenever another one comes. */
const FEW_IDENTITIES = 64
/** Bounds of how long a refused packet waits before it asks again, in ms. */
const WAIT = { least: 2, most: 500 } as const

/** What a packet is for: a check of an endpoint that the peer named or was heard from, or a probe of a port that nobody named. */
export type PacketPurpose = 'check' | 'search'

/** What one identity may have sent on its behalf. Times are in ms of one monotonic clock. */
export interface Allowance {
  /**
   * Asks for one packet to an endpoint that has not answered.
   * @returns 0 if it may be sent now, and then it counts; else after how many ms to ask again
   */
  take(now: number, to: Endpoint, purpose: PacketPurpose): number
  /** The address gave back what was sent to it alone: whoever is there speaks with this identity's session. */
  answered(now: number, address: string): void
}

/** What is known of one address. */
interface Address {
  readonly packets: TokenBucket
  readonly checksAtOnce: TokenBucket
  readonly checks: TokenBucket
  readonly searches: TokenBucket
  readonly ports: TokenBucket
  readonly searchedPorts: TokenBucket
  readonly seen: Set<number>
}

interface Identity {
  readonly budget: TokenBucket
  /** Tokens of its fair share, as of `sharedAt`. */
  share: number
  sharedAt: number
  /** When each address last answered it. */
  readonly answered: Map<string, number>
  /** What was charged for addresses that have not answered since. */
  readonly charged: Map<string, number>
}

/**
 * The one governor of a process for packets to endpoints that have not answered: under all punches and searches, of all
 * sessions. Identities share what there is fairly: each has its part of the rate for sure, and what others leave beyond
 * that, so that whoever takes most keeps nobody else waiting. Pure: the time is passed in.
 */
export class Governor {
  #all: TokenBucket | undefined
  readonly #addresses = new Map<string, Address>()
  readonly #identities = new Map<string, Identity>()

  /** What this identity may have sent: the same for all of its sessions. */
  allowance(identity: string): Allowance {
    return {
      take: (now, to, purpose) => this.#take(now, identity, to, purpose),
      answered: (now, address) => this.#answered(now, identity, prefixOf(address)),
    }
  }

  /** How many addresses and identities are remembered. */
  get remembered(): { readonly addresses: number; readonly identities: number } {
    return { addresses: this.#addresses.size, identities: this.#identities.size }
  }

  #take(now: number, name: string, to: Endpoint, purpose: PacketPurpose): number {
    const key = prefixOf(to.address)
    const identity = this.#identity(now, name)
    const address = this.#address(now, key)
    // the ports of long ago count anew
    if (address.ports.isFull(now) && address.searchedPorts.isFull(now)) address.seen.clear()
    const answered = now - (identity.answered.get(key) ?? Number.NEGATIVE_INFINITY) < ANSWERED
    const buckets = [address.packets]
    if (!answered) {
      buckets.push(identity.budget)
      if (purpose === 'search') buckets.push(address.searches)
      else buckets.push(address.checks, address.checksAtOnce)
    }
    if (!address.seen.has(to.port)) {
      buckets.push(purpose === 'search' || answered ? address.searchedPorts : address.ports)
    }
    const wait = Math.max(this.#shareWait(now, identity), ...buckets.map((bucket) => bucket.wait(now)))
    if (wait > 0) return Math.min(WAIT.most, Math.max(WAIT.least, wait))
    this.#total(now).take(now)
    for (const bucket of buckets) bucket.take(now)
    identity.share = Math.max(0, identity.share - 1)
    address.seen.add(to.port)
    if (!answered) {
      identity.charged.set(key, (identity.charged.get(key) ?? 0) + 1)
      trim(identity.charged, MOST_ADDRESSES)
    }
    return 0
  }

  #answered(now: number, name: string, key: string): void {
    const identity = this.#identity(now, name)
    identity.answered.delete(key)
    identity.answered.set(key, now)
    trim(identity.answered, MOST_ADDRESSES)
    const charged = identity.charged.get(key) ?? 0
    identity.charged.delete(key)
    identity.budget.refund(now, charged)
  }

  #total(now: number): TokenBucket {
    this.#all ??= new TokenBucket(GOVERNOR_LIMITS.all, now)
    return this.#all
  }

  /** How long this identity has to wait for its turn, in ms: it has its share, or what is left beyond everybody's. */
  #shareWait(now: number, identity: Identity): number {
    const all = this.#total(now)
    const missing = all.wait(now)
    if (missing > 0) return missing
    if (identity.share >= 1) return 0
    const active = this.#active(now)
    const owed = active.reduce((sum, one) => sum + (one === identity ? 0 : one.share), 0)
    if (all.level(now) - 1 >= owed + RESERVE) return 0
    return ((1 - identity.share) * 1000 * active.length) / GOVERNOR_LIMITS.all.rate
  }

  /** The identities that asked of late. */
  #active(now: number): Identity[] {
    return [...this.#identities.values()].filter(({ sharedAt }) => now - sharedAt < ACTIVE)
  }

  #identity(now: number, name: string): Identity {
    let identity = this.#identities.get(name)
    if (!identity) {
      if (this.#identities.size >= FEW_IDENTITIES) this.#forgetIdentities(now)
      const budget = new TokenBucket(GOVERNOR_LIMITS.identity, now)
      const sharedAt = Number.NEGATIVE_INFINITY
      identity = { budget, share: 0, sharedAt, answered: new Map(), charged: new Map() }
      this.#identities.set(name, identity)
    }
    this.#accrue(now, identity)
    return identity
  }

  /** Brings the share of an identity up to now; one that was idle begins with what nobody else is owed. */
  #accrue(now: number, identity: Identity): void {
    const others = this.#active(now).filter((one) => one !== identity)
    const free = this.#total(now).level(now) - others.reduce((sum, one) => sum + one.share, 0)
    const idle = now - identity.sharedAt >= ACTIVE
    const passed = idle ? 0 : Math.max(0, now - identity.sharedAt)
    const grown = idle
      ? free
      : identity.share + (GOVERNOR_LIMITS.all.rate * passed) / (1000 * (others.length + 1))
    identity.share = Math.max(0, Math.min(SHARE_BURST, grown, Math.max(free, identity.share)))
    identity.sharedAt = now
  }

  #address(now: number, key: string): Address {
    let address = this.#addresses.get(key)
    if (!address) {
      if (this.#addresses.size >= MOST_ADDRESSES) this.#forgetAddresses(now)
      const bucket = (limit: Limit) => new TokenBucket(limit, now)
      const { address: packets, checksAtOnce, checks, searches, ports, searchedPorts } = GOVERNOR_LIMITS
      address = {
        packets: bucket(packets),
        checksAtOnce: bucket(checksAtOnce),
        checks: bucket(checks),
        searches: bucket(searches),
        ports: bucket(ports),
        searchedPorts: bucket(searchedPorts),
        seen: new Set(),
      }
      this.#addresses.set(key, address)
    }
    return address
  }

  /** Those that are as new go; if there is none, the oldest. */
  #forgetAddresses(now: number): void {
    for (const [key, address] of this.#addresses) {
      const { seen: _, ...buckets } = address
      if (Object.values(buckets).every((bucket) => bucket.isFull(now))) {
        this.#addresses.delete(key)
      }
    }
    trim(this.#addresses, MOST_ADDRESSES - 1)
  }

  #forgetIdentities(now: number): void {
    for (const [name, { budget, sharedAt }] of this.#identities) {
      if (budget.isFull(now) && now - sharedAt >= ACTIVE) this.#identities.delete(name)
    }
    trim(this.#identities, MOST_IDENTITIES - 1)
  }
}

/** Leaves the latest `most` entries. */
function trim(map: Map<string, unknown>, most: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= most) break
    map.delete(oldest)
  }
}
