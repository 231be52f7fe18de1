import { canonicalAddress, type Endpoint, familyOf, formatEndpoint, scopeOf } from '../net/index.js'

/**
 * Where a candidate comes from (RFC 8445 section 5.1.1). `virtual` is an own address in a container, a virtual machine or
 * a VPN, `mapped` a port mapping (UPnP, NAT-PMP, PCP), `predicted` a guess at the next mapping of a symmetric NAT.
 */
export type CandidateKind =
  | 'host'
  | 'virtual'
  | 'reflexive'
  | 'peer-reflexive'
  | 'mapped'
  | 'predicted'
  | 'relayed'

/** An endpoint at which the peer may be reached. */
export interface Candidate {
  readonly kind: CandidateKind
  readonly endpoint: Endpoint
}

/**
 * How good a path is by its kind, 0 the best: LAN before direct before relay. A peer-reflexive endpoint was never
 * signed by the peer, so one that was comes before it. A path through a VPN comes after every direct one: it may be
 * the very tunnel that this pairing is to replace.
 */
const RANK: Readonly<Record<CandidateKind, number>> = {
  host: 0,
  mapped: 1,
  reflexive: 1,
  predicted: 1,
  'peer-reflexive': 2,
  virtual: 3,
  relayed: 4,
}

/** The order in which kinds are tried: the likeliest of equal rank first. */
const ORDER: readonly CandidateKind[] = [
  'host',
  'reflexive',
  'mapped',
  'peer-reflexive',
  'predicted',
  'virtual',
  'relayed',
]

/** The kinds that a message may name: a peer-reflexive endpoint is never signed by anybody. */
export const NAMED_KINDS: readonly CandidateKind[] = ORDER.filter((kind) => kind !== 'peer-reflexive')

/** The rank of the best kind of path: nothing better can come. */
export const BEST_RANK = 0

/** From this rank on a path is a last resort: a better one is worth waiting for. */
export const LAST_RESORT = RANK.virtual

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
 * The order of first checks: the first candidate of every kind and family, then the second of each, and so on, so that
 * ten addresses of one kind do not keep the reflexive one waiting (RFC 8421 section 4 for the families). Kinds that are a
 * last resort come after all others.
 */
export function inTurns(candidates: readonly Candidate[]): Candidate[] {
  const turn = new Map<string, number>()
  const placed = candidates.map((candidate) => {
    const { kind, endpoint } = candidate
    const key = `${kind} ${familyOf(endpoint)}`
    const nth = turn.get(key) ?? 0
    turn.set(key, nth + 1)
    return { candidate, nth, last: Number(RANK[kind] >= LAST_RESORT) }
  })
  placed.sort(
    (a, b) =>
      a.last - b.last || a.nth - b.nth || ORDER.indexOf(a.candidate.kind) - ORDER.indexOf(b.candidate.kind),
  )
  return placed.map(({ candidate }) => candidate)
}

/** For the log: `reflexive 192.0.2.1:4000`. */
export function formatCandidate(candidate: Candidate): string {
  return `${candidate.kind} ${formatEndpoint(candidate.endpoint)}`
}
