import { type Endpoint, familyOf, isPublic, ownAddresses, sameEndpoint, type UdpPort } from '../net/index.js'
import type { Candidate } from '../punch/index.js'
import type { Reflexive } from '../stun/index.js'

/**
 * The kinds of candidates that a side may offer, as in `--candidates`:
 * - `host`: its own addresses, those of its LAN
 * - `virtual`: its own addresses in containers, virtual machines and VPNs
 * - `ipv6`: IPv6 addresses of any kind; without it none is offered, and with it global ones need no other word
 * - `reflexive`: what STUN servers see it as; without it none is asked
 * - `mapped`: a port mapping on its router
 * - `predicted`: the ports that its NAT may give out next
 */
export const OFFER_KINDS = ['host', 'virtual', 'ipv6', 'reflexive', 'mapped', 'predicted'] as const
export type OfferKind = (typeof OFFER_KINDS)[number]

/** What is offered unless somebody says otherwise. */
export const EVERY_KIND: ReadonlySet<OfferKind> = new Set(OFFER_KINDS)

/**
 * How many own addresses of each kind are offered. A machine has one to three networks; what is beyond that are aliases,
 * and prefixes that come and go.
 */
const MAX_HOST: Readonly<Record<'4' | '6' | 'virtual', number>> = { 4: 6, 6: 4, virtual: 3 }

/** What a port can be reached at, the likeliest first. */
export function offeredCandidates(
  port: UdpPort,
  answers: readonly Reflexive[],
  mapped: Endpoint | undefined,
  kinds: ReadonlySet<OfferKind> = EVERY_KIND,
): Candidate[] {
  const outside = hostCandidates(port, kinds, false)
  const candidates: Candidate[] = [...outside]
  const add = (candidate: Candidate) => {
    if (candidates.some(({ endpoint }) => sameEndpoint(endpoint, candidate.endpoint))) return
    if (isOffered(candidate, kinds)) candidates.push(candidate)
  }
  // where both are the same, that it is mapped says more
  if (mapped) add({ kind: 'mapped', endpoint: mapped })
  for (const { endpoint } of answers) add({ kind: 'reflexive', endpoint })
  // a host without any network still reaches itself
  return candidates.length > 0 || answers.length > 0 ? candidates : hostCandidates(port, kinds, true)
}

/** Whether this side tells others of such a candidate. */
export function isOffered({ kind, endpoint }: Candidate, kinds: ReadonlySet<OfferKind>): boolean {
  const named = OFFER_KINDS.some((each) => each === kind && kinds.has(each))
  if (familyOf(endpoint) === 4) return named
  if (!kinds.has('ipv6')) return false
  return named || (kind !== 'virtual' && isPublic(endpoint.address))
}

/** True if one of the servers sees another address than this machine's: then there is a NAT in between. */
export function isTranslated(answers: readonly Reflexive[]): boolean {
  const own = new Set(ownAddresses({ loopback: true }).map(({ address }) => address))
  return answers.some(({ endpoint }) => familyOf(endpoint) === 4 && !own.has(endpoint.address))
}

function hostCandidates(port: UdpPort, kinds: ReadonlySet<OfferKind>, loopback: boolean): Candidate[] {
  const count = { 4: 0, 6: 0, virtual: 0 }
  return ownAddresses({ loopback }).flatMap(({ address, family, medium }) => {
    const local = port.local(family)
    if (!local) return []
    const everywhere = local.address === '0.0.0.0' || local.address === '::'
    if (!everywhere && local.address !== address) return []
    const kind = medium === 'virtual' ? 'virtual' : 'host'
    const candidate: Candidate = { kind, endpoint: { address, port: local.port } }
    if (!isOffered(candidate, kinds)) return []
    const room = medium === 'virtual' ? 'virtual' : family
    return count[room]++ < MAX_HOST[room] ? [candidate] : []
  })
}
