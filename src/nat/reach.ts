import { kindOf, type NatKind } from './kind.js'
import type { NatReport } from './report.js'

/** How a peer of some kind is reached from here. */
export interface Reach {
  /** The kind of peer, as a person would say it. */
  readonly peer: string
  readonly way: Way
}

export type Way =
  | 'directly'
  | 'directly, when the peer speaks first'
  | 'by predicting its ports'
  | 'by predicting the ports of this side'
  | 'by a search of some seconds'
  | 'not without help'

type Peer = 'open' | 'address-restricted' | 'port-restricted' | 'sequential' | 'random'

const PEERS: readonly (readonly [Peer, string])[] = [
  ['open', 'public address, port mapping or full cone NAT'],
  ['address-restricted', 'address-restricted cone NAT'],
  ['port-restricted', 'port-restricted cone NAT or firewall'],
  ['sequential', 'symmetric NAT with ports in sequence'],
  ['random', 'symmetric NAT with random ports'],
]

/** What this side is to a peer; where something is unknown, the less helpful. */
function roleOf(kind: NatKind, mapped: boolean): Peer | undefined {
  if (kind === 'udp-blocked' || kind === 'no-server' || kind === 'offline') return undefined
  if (mapped) return 'open'
  switch (kind) {
    case 'open':
    case 'full-cone':
      return 'open'
    case 'address-restricted':
      return 'address-restricted'
    case 'firewall':
    case 'port-restricted':
    case 'cone':
    case 'unknown':
      return 'port-restricted'
    case 'symmetric-sequential':
      return 'sequential'
    case 'symmetric-random':
    case 'symmetric':
    case 'address-dependent':
      return 'random'
  }
}

/** Which pairs of mapping and filtering meet, by RFC 4787's behaviours of both ends. */
function wayTo(own: Peer, peer: Peer): Way {
  const symmetric = (side: Peer) => side === 'sequential' || side === 'random'
  if (own === 'open') return symmetric(peer) ? 'directly, when the peer speaks first' : 'directly'
  if (peer === 'open' || (!symmetric(own) && !symmetric(peer))) return 'directly'
  if (symmetric(own) && symmetric(peer)) {
    return own === 'sequential' && peer === 'sequential' ? 'by predicting its ports' : 'not without help'
  }
  // the cone has one endpoint, and whoever filters by address alone lets in any port of the other
  const cone = symmetric(own) ? peer : own
  if (cone === 'address-restricted') return 'directly'
  if (own === 'sequential') return 'by predicting the ports of this side'
  if (peer === 'sequential') return 'by predicting its ports'
  return 'by a search of some seconds'
}

/** Which peers can be reached from here over IPv4, and how: what the planner of the punch goes by. */
export function reachOf(
  report: Pick<NatReport, 'udp' | 'ipv4' | 'ipv6' | 'portMapping' | 'carrier'>,
): Reach[] {
  const mapped = report.portMapping.is === 'available' && report.carrier.verdict !== 'yes'
  const own = roleOf(kindOf(report), mapped)
  return PEERS.map(([peer, words]) => ({ peer: words, way: own ? wayTo(own, peer) : 'not without help' }))
}

/** What a person could do so that more peers can be reached, the most useful first; empty when all can. */
export function helpOf(report: NatReport): string[] {
  const { udp, ipv4, ipv6, carrier, portMapping, servers } = report
  if (udp === 'blocked')
    return [
      'Let UDP out in the firewall of this network: plexus needs it, and nothing here can go around it. Or the server has no STUN service and drops what comes: name others with --stun-server.',
    ]
  if (udp === 'refused')
    return [
      'Name another server with --stun-server: nothing listens there for UDP, or a firewall rejects it.',
    ]
  if (udp === 'unanswered') return ['Check that a STUN server runs there, or name others with --stun-server.']
  if (udp === 'silent') {
    const nameless =
      servers.length > 0 && servers.every(({ said }) => /^its name d(id|oes) not resolve/.test(said))
    return [
      nameless
        ? 'This machine finds no names (DNS): check that, or name servers by address with --stun-server.'
        : 'Connect this machine to a network, or name servers that answer with --stun-server.',
    ]
  }
  const all = reachOf(report).every(({ way }) => way !== 'not without help')
  const help: string[] = []
  if (!all) {
    if (carrier.verdict === 'yes')
      help.push(
        "The provider's NAT is in the way: a port mapping on the own router does not pass it. A public address from the provider, or IPv6, would.",
      )
    else if (portMapping.is !== 'available')
      help.push(
        'Switch on UPnP or NAT-PMP on the router: with a port mapping every peer whose network lets UDP out can reach this side.',
      )
  }
  if (ipv6 && ipv4?.translated)
    help.push(
      ipv6.filtering === 'endpoint-independent' || ipv6.filtering === 'unknown'
        ? 'A peer that has IPv6 too is reached over it, without a NAT.'
        : 'A peer that has IPv6 too is reached over it: no NAT is in the way, and a firewall lets in what was spoken to.',
    )
  else if (!all && !ipv6) help.push('IPv6 on both ends would do too.')
  if (ipv4?.unasked === 'cuts off the sender' || ipv4?.unasked === 'moves the mapping')
    help.push(
      'Packets that come too early harm here: leave --punch-hops small, so that those of the other side die on the way.',
    )
  return help
}
