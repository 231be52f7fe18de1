import type { Endpoint, Family, Filtering, Mapping, NatBehaviour, PortAllocation } from '../net/index.js'
import { UNKNOWN_NAT } from '../net/index.js'

export type Verdict = 'yes' | 'no' | 'unknown'

/** What becomes of a packet that comes to a mapping from where nothing was sent to. */
export type Unasked =
  | 'let in'
  | 'dropped'
  /** The mapping towards its sender gets another port, as on a plain Linux router: who comes first spoils the punch. */
  | 'moves the mapping'
  /** Its sender is cut off, in and out, for a while. */
  | 'cuts off the sender'
  | 'unknown'

/** A socket, and where the outside saw it. */
export interface Sample {
  /** The local port. */
  readonly inside: number
  readonly outside: Endpoint
}

/** Something that could not be found out. */
export interface Missing {
  readonly what: string
  /** A clause, in lower case and without a full stop. */
  readonly why: string
}

/** What was measured of one address family. */
export interface FamilyReport {
  readonly family: Family
  /** The local address that packets to the servers leave from, by the routing table. */
  readonly own: string | undefined
  /** The addresses that servers saw, each once, in the order in which they were seen. */
  readonly publicAddresses: readonly string[]
  /** Whether none of them is an address of this machine. */
  readonly translated: boolean
  /** By what several destinations saw of one socket (RFC 4787 section 4.1, RFC 5780 section 4.3). */
  readonly mapping: Mapping
  /** By answers from where nothing was sent to (RFC 4787 section 5, RFC 5780 section 4.4). */
  readonly filtering: Filtering
  /** By the outside ports of several fresh sockets in a row (RFC 4787 section 4.2). */
  readonly allocation: PortAllocation
  /** By the outside addresses of several fresh sockets (RFC 4787 section 4.1). */
  readonly pooling: NatBehaviour['pooling']
  /** Whether two sockets of this machine reach each other at their outside endpoints (RFC 4787 section 6). */
  readonly hairpin: Verdict
  /** By asking the sender of an unasked packet afterwards. */
  readonly unasked: Unasked
  /** How many routers away the outermost NAT or firewall is that filters, 1 for the next one; undefined when unknown. */
  readonly hops: number | undefined
  /** The fresh sockets in the order in which they asked. */
  readonly samples: readonly Sample[]
  /** The shortest round trip to a server, in ms. */
  readonly rtt: number
  readonly missing: readonly Missing[]
}

/** Whether the router maps ports for this machine when it is asked to. */
export type PortMappingFinding =
  /** `external`: where it would take packets, by its own word. */
  | { readonly is: 'available'; readonly external: Endpoint }
  | { readonly is: 'unavailable'; readonly why: string }
  | { readonly is: 'unknown'; readonly why: string }

/** Whether UDP gets out and back, as far as can be told: only `open` is certain. */
export type UdpFinding =
  | 'open'
  /** No server answered, and one refused the datagram (ICMP port unreachable): nothing listens there, or a firewall rejects UDP. */
  | 'refused'
  /** No server answered, but the host of one refused a datagram to another port: UDP gets there, and no STUN server answers. */
  | 'unanswered'
  /** A host was reached over TCP, but nothing came back over UDP, no refusal either: most likely UDP is blocked. */
  | 'blocked'
  /** Nothing came back, over TCP neither: no network, or servers that are all gone. */
  | 'silent'

/** What became of one server. */
export interface ServerFinding {
  /** As it was named. */
  readonly name: string
  /** `sees 192.0.2.1:4000 after 20 ms`, `no answer to 5 requests` */
  readonly said: string
  readonly answered: boolean
  /** Whether it has a second address to test with (RFC 5780). */
  readonly behaviourDiscovery: boolean
}

/** What is known of the network that this machine is in. */
export interface NatReport {
  /** When it was measured, in ms since 1970-01-01 UTC. */
  readonly measured: number
  /** How long that took, in ms. */
  readonly took: number
  readonly udp: UdpFinding
  readonly ipv4: FamilyReport | undefined
  readonly ipv6: FamilyReport | undefined
  /** Whether there is another NAT beyond the local router, of the provider (RFC 6888), and how that is known. */
  readonly carrier: { readonly verdict: Verdict; readonly why: string }
  readonly portMapping: PortMappingFinding
  readonly servers: readonly ServerFinding[]
  readonly missing: readonly Missing[]
  /** Every question and what came of it, a line each. */
  readonly evidence: readonly string[]
}

/** What of a report is of use for choosing a strategy: only IPv4 is worth one. */
export function behaviourOf({ ipv4 }: Pick<NatReport, 'ipv4'>): NatBehaviour {
  if (!ipv4) return UNKNOWN_NAT
  const { mapping, filtering, allocation, pooling } = ipv4
  return { mapping, filtering, allocation, pooling }
}
