import { canonicalAddress, type Endpoint, familyOf, formatEndpoint, scopeOf } from '../net/index.js'

/**
 * Where a candidate comes from (RFC 8445 section 5.1.1). `mapped` is a port mapping (UPnP, NAT-PMP, PCP), `predicted`
 * a guess at the next mapping of a symmetric NAT.
 */
export type CandidateKind = 'host' | 'reflexive' | 'peer-reflexive' | 'mapped' | 'predicted' | 'relayed'

/** An endpoint at which the peer may be reached. */
export interface Candidate {
  readonly kind: CandidateKind
  readonly endpoint: Endpoint
}

/**
 * How good a path is by its kind, 0 the best: LAN before direct before relay. A peer-reflexive endpoint was never
 * signed by the peer, so one that was comes before it.
 */
const RANK: Readonly<Record<CandidateKind, number>> = {
  host: 0,
  mapped: 1,
  reflexive: 1,
  predicted: 1,
  'peer-reflexive': 2,
  relayed: 3,
}

/** The order in which kinds are tried: the likeliest of equal rank first. */
const ORDER: readonly CandidateKind[] = [
  'host',
  'reflexive',
  'mapped',
  'peer-reflexive',
  'predicted',
  'relayed',
]

/** The rank of the best kind of path: nothing better can come. */
export const BEST_RANK = 0

/** 0 is the best. */
export function rankOf(kind: CandidateKind): number {
  return RANK[kind]
}

/**
 * The candidate with its address in canonical form, or undefined if nothing may be sent there: no address, port 0,
 * multicast, broadcast, unspecified, or IPv6 link-local, which means nothing without its zone. Loopback passes:
 * whoever passes a peer's candidates on decides about that.
 */
export function usableCandidate(candidate: Candidate): Candidate | undefined {
  const { port } = candidate.endpoint
  if (!Number.isInteger(port) || port < 1 || port > 65535) return undefined
  const scope = scopeOf(candidate.endpoint.address)
  if (scope === 'unusable') return undefined
  if (scope === 'link-local' && familyOf(candidate.endpoint) === 6) return undefined
  return { kind: candidate.kind, endpoint: { address: canonicalAddress(candidate.endpoint.address), port } }
}

/**
 * The order of first checks: the first candidate of every kind, then the second of every kind, and so on, so that ten
 * addresses of containers do not keep the reflexive one waiting.
 */
export function inTurns(candidates: readonly Candidate[]): Candidate[] {
  const turn = new Map<CandidateKind, number>()
  const placed = candidates.map((candidate) => {
    const nth = turn.get(candidate.kind) ?? 0
    turn.set(candidate.kind, nth + 1)
    return { candidate, nth }
  })
  placed.sort((a, b) => a.nth - b.nth || ORDER.indexOf(a.candidate.kind) - ORDER.indexOf(b.candidate.kind))
  return placed.map(({ candidate }) => candidate)
}

/** For the log: `reflexive 192.0.2.1:4000`. */
export function formatCandidate(candidate: Candidate): string {
  return `${candidate.kind} ${formatEndpoint(candidate.endpoint)}`
}
