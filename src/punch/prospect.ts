import { type Endpoint, familyOf, isPublic, type NatBehaviour, UNKNOWN_NAT } from '../net/index.js'
import type { Candidate } from './candidate.js'

/** What one side says of its NAT: a hint for the strategy, never a gate. */
export interface NatHint extends NatBehaviour {
  /** Outside ports of fresh sockets in the order in which they were opened, at most MAX_PORTS; empty when none was sampled. */
  readonly ports: readonly number[]
}

/** Nothing is known. */
export const NO_HINT: NatHint = { ...UNKNOWN_NAT, ports: [] }

/** How many sampled ports a hint has at most: 8 in a row show a step, or a range, beyond doubt. */
export const MAX_PORTS = 8

/** One side of a punch, as far as it is known: what it offered, and later updates. */
export interface Prospect {
  readonly nat: NatHint
  readonly candidates: readonly Candidate[]
  /** Whether it may probe ports of the other side that nobody has named. */
  readonly seek: boolean
  /** How many sockets it may open beside the first. */
  readonly sockets: number
}

/** The NAT gives every destination another outside endpoint (RFC 4787 section 4.1): "symmetric" in older words. */
export function isSymmetric({ mapping }: NatBehaviour): boolean {
  return mapping === 'address-dependent' || mapping === 'address-and-port-dependent'
}

/** Symmetric, and the next port can be told: how far one mapping is from the one before; undefined when it cannot. */
export function stepOf(nat: NatHint): number | undefined {
  if (!isSymmetric(nat) || nat.allocation.kind !== 'sequential' || nat.ports.length === 0) return undefined
  return nat.allocation.step
}

/** The side can be reached without the help of its NAT: nothing harmful can come of a packet that it did not ask for. */
export function isOpen({ nat, candidates }: Pick<Prospect, 'nat' | 'candidates'>): boolean {
  return (
    nat.filtering === 'endpoint-independent' ||
    candidates.some(
      ({ kind, endpoint }) =>
        kind === 'relayed' ||
        // a mapping at an address that is not public is one behind yet another NAT
        ((kind === 'mapped' || kind === 'host') && familyOf(endpoint) === 4 && isPublic(endpoint.address)),
    )
  )
}

/** The one endpoint that a NAT with an endpoint-independent mapping shows to everybody; IPv4, as only there it matters. */
export function stableEndpoint(candidates: readonly Candidate[]): Endpoint | undefined {
  const outside = candidates.filter(({ endpoint }) => familyOf(endpoint) === 4 && isPublic(endpoint.address))
  // a mapping that was lost and made anew comes as an update
  const best = outside.findLast(({ kind }) => kind === 'reflexive') ?? outside[0]
  return best?.endpoint
}
