import type { Endpoint, Random } from '../net/index.js'
import { type Candidate, inTurns, rankOf, usableCandidate } from './candidate.js'
import { Pair } from './pair.js'
import { CHALLENGE_LENGTH } from './probe.js'
import { MAX_PEER_REFLEXIVE, MAX_PEER_REFLEXIVE_TOTAL, MAX_REMOTE } from './timing.js'
import { decodeTransportAddress } from './transport-address.js'

/** The pairs of a punch in the order of their first checks, and the pace at which checks go out (RFC 8445 section 6.1.4). */
export class Checklist {
  readonly #pairs = new Map<string, Pair>()
  readonly #random: Random
  /** Challenges of packets to endpoints that are no pairs before something is heard from them. */
  readonly #scattered = new Map<string, Buffer>()
  #remote = 0
  #peerReflexive = 0
  #slot = Number.NEGATIVE_INFINITY

  constructor(random: Random) {
    this.#random = random
  }

  /** Takes the usable candidates that are new, as long as there is room. */
  add(now: number, candidates: readonly Candidate[]): void {
    const usable = candidates.flatMap((candidate) => usableCandidate(candidate) ?? [])
    for (const candidate of inTurns(usable)) {
      if (this.#remote >= MAX_REMOTE) return
      if (this.#pairs.has(keyOf(0, candidate.endpoint))) continue
      this.#remote++
      this.#insert(now, candidate, 0)
    }
  }

  /** The challenge for a packet of a search, which is to no candidate: the pair has it once something comes from there. */
  scatter(socket: number, endpoint: Endpoint): Buffer {
    const key = keyOf(socket, endpoint)
    const known = this.#pairs.get(key)?.challenge ?? this.#scattered.get(key)
    if (known) return known
    const challenge = this.#random(CHALLENGE_LENGTH)
    this.#scattered.set(key, challenge)
    return challenge
  }

  /**
   * The pair of the socket and the endpoint that an authentic datagram came from, made if it is new (RFC 8445 section
   * 7.3.1.3). When there are too many, the oldest such one that led nowhere makes room; undefined if none can.
   */
  from(now: number, endpoint: Endpoint, socket: number): Pair | undefined {
    const known = this.#pairs.get(keyOf(socket, endpoint))
    if (known) return known
    if (this.#peerReflexive >= MAX_PEER_REFLEXIVE_TOTAL) return undefined
    const unproven: string[] = []
    let count = 0
    for (const [key, pair] of this.#pairs) {
      if (pair.candidate.kind !== 'peer-reflexive' && pair.socket === 0) continue
      count++
      if (pair.progress !== 'proven') unproven.push(key)
    }
    if (count >= MAX_PEER_REFLEXIVE) {
      const oldest = unproven[0]
      if (oldest === undefined) return undefined
      this.#pairs.delete(oldest)
    }
    this.#peerReflexive++
    // another socket meets the peer where it said that it is
    const kind = this.#pairs.get(keyOf(0, endpoint))?.candidate.kind ?? 'peer-reflexive'
    return this.#insert(now, { kind, endpoint: { ...endpoint } }, socket)
  }

  /**
   * The pair that the peer means: its endpoint as it stands in a datagram and, as several sockets may have met it
   * there, the challenge that went there. Without a pair of that challenge it is the one of the first socket.
   */
  find(destination: Buffer, challenge: Buffer): Pair | undefined {
    for (const pair of this.#pairs.values()) {
      if (pair.challenge.equals(challenge) && pair.destination.equals(destination)) return pair
    }
    const endpoint = decodeTransportAddress(destination)
    return endpoint && this.#pairs.get(keyOf(0, endpoint))
  }

  /** How many endpoints there are, and how many of them were heard and proven. */
  count(): { tried: number; heard: number; proven: number } {
    const count = { tried: 0, heard: 0, proven: 0 }
    for (const { progress } of this.#pairs.values()) {
      count.tried++
      if (progress !== 'unheard') count.heard++
      if (progress === 'proven') count.proven++
    }
    return count
  }

  /**
   * The pair whose check is due: one that the peer has asked for, else, when the pace allows it, the one with the fewest
   * checks.
   */
  due(now: number): Pair | undefined {
    let best: Pair | undefined
    for (const pair of this.#pairs.values()) {
      if (pair.nextCheck > now) continue
      if (pair.triggered) return pair
      if (now >= this.#slot && (best === undefined || pair.checks < best.checks)) best = pair
    }
    return best
  }

  /** A check went out that `due` gave: the next one waits for `pace` ms. */
  paced(now: number, pace: number): void {
    this.#slot = now + pace
  }

  /** When `due` has something next. */
  get nextDue(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { nextCheck, triggered } of this.#pairs.values()) {
      next = Math.min(next, triggered ? nextCheck : Math.max(nextCheck, this.#slot))
    }
    return next
  }

  /** The retransmissions of every pair that was not heard begin anew. */
  restart(now: number): void {
    for (const pair of this.#pairs.values()) if (pair.progress === 'unheard') pair.restart(now)
  }

  /** The proven pair to nominate: one that failed less often, then the better kind, then the shorter round trip. */
  best(): Pair | undefined {
    let best: Pair | undefined
    for (const pair of this.#pairs.values()) {
      if (pair.progress === 'proven' && (best === undefined || order(pair, best) < 0)) best = pair
    }
    return best
  }

  /** True if an endpoint that has not answered yet would make a path of a better kind than `pair`. */
  mayImproveOn(pair: Pair): boolean {
    const rank = rankOf(pair.candidate.kind)
    for (const other of this.#pairs.values()) {
      if (other.progress !== 'proven' && rankOf(other.candidate.kind) < rank) return true
    }
    return false
  }

  /** The pairs to say a last word to: those that were heard, or all when none was; the best first. */
  reachable(limit: number): Pair[] {
    const all = [...this.#pairs.values()]
    const heard = all.filter((pair) => pair.progress !== 'unheard')
    return (heard.length > 0 ? heard : all).sort(order).slice(0, limit)
  }

  #insert(now: number, candidate: Candidate, socket: number): Pair {
    const key = keyOf(socket, candidate.endpoint)
    const challenge = this.#scattered.get(key) ?? this.#random(CHALLENGE_LENGTH)
    const pair = new Pair(candidate, socket, challenge, now)
    this.#pairs.set(key, pair)
    return pair
  }
}

/** Negative if `a` is the better path. */
function order(a: Pair, b: Pair): number {
  return (
    a.nominations - b.nominations ||
    rankOf(a.candidate.kind) - rankOf(b.candidate.kind) ||
    (a.rtt ?? 1e9) - (b.rtt ?? 1e9)
  )
}

function keyOf(socket: number, endpoint: Endpoint): string {
  return `${socket}|${endpoint.address}|${endpoint.port}`
}
