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
  | 'directly, if the peer sends first'
  | 'by predicting its ports'
  | 'by predicting the ports of this side'
  | 'by searching for a few seconds'
  | 'only with help'

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
  if (own === 'open') return symmetric(peer) ? 'directly, if the peer sends first' : 'directly'
  if (peer === 'open' || (!symmetric(own) && !symmetric(peer))) return 'directly'
  if (symmetric(own) && symmetric(peer)) {
    return own === 'sequential' && peer === 'sequential' ? 'by predicting its ports' : 'only with help'
  }
  // the cone has one endpoint, and whoever filters by address alone lets in any port of the other
  const cone = symmetric(own) ? peer : own
  if (cone === 'address-restricted') return 'directly'
  if (own === 'sequential') return 'by predicting the ports of this side'
  if (peer === 'sequential') return 'by predicting its ports'
  return 'by searching for a few seconds'
}

/** Which peers can be reached from here over IPv4, and how: what the planner of the punch goes by. */
export function reachOf(
  report: Pick<NatReport, 'udp' | 'ipv4' | 'ipv6' | 'portMapping' | 'carrier'>,
): Reach[] {
  const mapped = report.portMapping.is === 'available' && report.carrier.verdict !== 'yes'
  const own = roleOf(kindOf(report), mapped)
  return PEERS.map(([peer, words]) => ({ peer: words, way: own ? wayTo(own, peer) : 'only with help' }))
}

/** What a person could do so that more peers can be reached, the most useful first; empty when all can. */
export function helpOf(report: NatReport): string[] {
  const { udp, ipv4, ipv6, carrier, portMapping, servers } = report
  if (udp === 'blocked')
    return [
      'Allow outgoing UDP in the firewall of this network; plexus needs it. Or there is no STUN server at that address: name others with --stun-server.',
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
        ? 'Names do not resolve (DNS): fix that, or name servers by address with --stun-server.'
        : 'Connect this machine to a network, or name other servers with --stun-server.',
    ]
  }
  const all = reachOf(report).every(({ way }) => way !== 'only with help')
  const help: string[] = []
  if (!all) {
    if (carrier.verdict === 'yes')
      help.push(
        'Your provider uses NAT, so a port mapping on your router does not help. Ask the provider for a public address or IPv6.',
      )
    else if (portMapping.is !== 'available')
      help.push(
        'Enable UPnP, PCP or NAT-PMP on the router: with a port mapping every peer that can send UDP can reach this side.',
      )
  }
  if (ipv6 && ipv4?.translated)
    help.push(
      ipv6.filtering === 'endpoint-independent' || ipv6.filtering === 'unknown'
        ? 'Peers with IPv6 can be reached over it, without a NAT.'
        : 'Peers with IPv6 can be reached over it: there is no NAT, and firewalls let answers in.',
    )
  else if (!all && !ipv6) help.push('IPv6 on both sides would work too.')
  if (ipv4?.unasked === 'cuts off the sender' || ipv4?.unasked === 'moves the mapping')
    help.push("Early packets cause harm here: keep --punch-hops small, so that the peer's expire on the way.")
  return help
}
