import { PlexusError } from '../errors/index.js'
import { UdpPort } from '../net/index.js'
import { MAX_SEARCH_SOCKETS, type NatHint, type Prospect } from '../punch/index.js'
import type { PairingContext } from './context.js'
import type { Offer } from './message.js'
import { EVERY_KIND } from './offered.js'

/** In an offer: this side probes ports of the peer's address; this side opens many sockets. */
const CAN_SEEK = 'seek'
const CAN_SPREAD = 'spread'

/** Ports of a range that are left for other pairings. */
const SPARED_PORTS = 8

/** How many sockets beside the first one the flags leave room for. */
export function roomForSockets({ port = 0, range }: PairingContext['bind']): number {
  if (range) return Math.max(0, Math.min(MAX_SEARCH_SOCKETS, range.size - range.held - SPARED_PORTS))
  return port === 0 ? MAX_SEARCH_SOCKETS : 0
}

/** Opens one more socket: IPv4 alone, as only there NATs change ports. @throws PlexusError ADDRESS_IN_USE … */
export function openFresh({ address = '0.0.0.0', range }: PairingContext['bind']): UdpPort {
  return range ? range.open(address) : UdpPort.open({ address })
}

/**
 * The same for a search.
 * @param peer whom it is for: it counts as the peer's until it is closed
 * @throws PlexusError BUSY if the peer may have no more, ADDRESS_IN_USE …
 */
export function openFurther({ bind, budget, clock }: PairingContext, peer: string): UdpPort {
  const taken = budget?.share(peer).take(clock.now(), { descriptors: 1 })
  if (taken?.kind === 'refused') throw new PlexusError('BUSY', taken.sentence)
  try {
    const port = openFresh(bind)
    void port.closed.then(() => taken?.giveBack())
    return port
  } catch (thrown) {
    taken?.giveBack()
    throw thrown
  }
}

/** What this side's offer says that this side can do beyond the direct attempt. */
export function abilities(context: PairingContext): string[] {
  if (!context.search) return []
  return roomForSockets(context.bind) > 0 ? [CAN_SEEK, CAN_SPREAD] : [CAN_SEEK]
}

/** What this side may offer of its NAT: what a report has found out beyond the quick part is added. */
export function ownHint({ kinds = EVERY_KIND, nat }: PairingContext, quick: NatHint): NatHint {
  const report = nat?.()
  const known = <T extends string>(one: T, other: T | undefined): T =>
    one === 'unknown' && other !== undefined ? other : one
  return {
    mapping: known(quick.mapping, report?.mapping),
    filtering: known(quick.filtering, report?.filtering),
    pooling: known(quick.pooling, report?.pooling),
    allocation: quick.allocation.kind === 'unknown' && report ? report.allocation : quick.allocation,
    ports: kinds.has('predicted') ? quick.ports : [],
  }
}

/** This side, as far as the planner is concerned. @param peer whom a search would be for */
export function ownProspect(
  context: PairingContext,
  own: Pick<Prospect, 'nat' | 'candidates'>,
  peer: string,
): Prospect {
  const { search, bind } = context
  const allowed = search?.allows(peer) === true
  return { ...own, seek: allowed, sockets: allowed ? roomForSockets(bind) : 0 }
}

/** The peer as its offer and its updates show it. */
export function peerProspect(offer: Pick<Offer, 'candidates' | 'nat' | 'can'>): Prospect {
  const { nat, candidates, can } = offer
  return {
    nat,
    candidates,
    seek: can.includes(CAN_SEEK),
    sockets: can.includes(CAN_SPREAD) ? MAX_SEARCH_SOCKETS : 0,
  }
}
