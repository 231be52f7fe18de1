import type { Cable } from './addresses.js'
import { Machine } from './machine.js'
import { namespaceFile } from './namespace.js'
import { flushRules, type NatType } from './nat.js'

/** `public` has no NAT; `double` is a port-restricted NAT behind the carrier's. */
export type SideType = 'public' | 'double' | NatType

export interface SideOptions {
  /**
   * Also an IPv6 address, routed from end to end: `true` without filtering, `firewall` behind the stateful firewall of
   * the innermost router, which lets in what answers; `only` and `only-firewall` without any IPv4. Not by default.
   */
  readonly ipv6?: boolean | 'firewall' | 'only' | 'only-firewall'
  /** How long a mapping lives without outbound traffic, in seconds; 120 by default (RFC 4787 REQ-5). */
  readonly mappingTimeout?: number
  /** How long a blacklisting NAT cuts a peer off, in seconds; 30 by default. */
  readonly banTime?: number
  /**
   * Prefixes that a blacklisting NAT never bans; none by default. A node of a DHT sends to a new one unasked, to see
   * whether it can be reached, so `[SERVER_PREFIX]` keeps the lab's only nodes from being cut off one by one.
   */
  readonly spared?: readonly string[]
  /** The carrier's NAT of a `double` side; port-restricted by default. */
  readonly carrier?: NatType
  /** The router of a `double` side at home; port-restricted by default. */
  readonly home?: NatType
  /** Whether the outermost NAT turns back what one of its own sends to another's public endpoint. Not by default. */
  readonly hairpin?: boolean
  /** How many public addresses the outermost NAT has, 1 to 4; 1 by default. With more, each mapping gets any of them. */
  readonly publicAddresses?: number
  /** How far a sequential mapping is from the one before; 1 by default. */
  readonly step?: number
  /** What the innermost router runs a miniupnpd for: see `portMapper`. The side has another public address then. */
  readonly portMapper?: 'upnp' | 'nat-pmp' | 'both'
  /** A router of its own behind the carrier's NAT of another side. Both are `double`. */
  readonly sameCarrierAs?: Side
  /** Another host in the LAN of this side, behind its NAT. The type must be the same. */
  readonly sameLanAs?: Side
}

/** A router with interfaces `wan` and `lan`, the latter a switch with ports `port0`, `port1`, … */
export class Nat extends Machine {
  readonly type: NatType
  #ports = 0

  constructor(name: string, namespace: string, type: NatType) {
    super(name, namespace, 'wan')
    this.type = type
  }

  /** The name of the next port of the switch `lan`. */
  nextPort(): string {
    return `port${this.#ports++}`
  }

  /** A line of shell that forgets every mapping, ban and connection. */
  get flushScript(): string {
    const file = namespaceFile(this.namespace)
    return `nsenter --net=${file} sh -ec 'conntrack -F 2>/dev/null; conntrack -F -f ipv6 2>/dev/null || :; nft -f -' <<'END'\n${flushRules(this.type)}END\n`
  }
}

/** A host at the edge of the internet, with what stands between: the thing that pairs. */
export class Side extends Machine {
  readonly type: SideType
  /** The number that its addresses are made from. */
  readonly index: number
  /** Its own IPv4 address; the IPv6 address when it has no other. */
  readonly address: string
  /** The IPv4 address that others see, the first of several; the IPv6 address when it has no other. */
  readonly publicAddress: string
  /** All of them. */
  readonly publicAddresses: readonly string[]
  /** The cable on which its public addresses are. */
  readonly access: Cable
  /** Its own IPv6 address, if it was asked for; others see the same. */
  readonly address6: string | undefined
  /** The NATs on its way, the outermost first. */
  readonly nats: readonly Nat[]
  /** Where packets from the internet arrive: the outermost NAT, or the host itself. Watch it with `lab.capture`. */
  readonly border: Machine
  /** The hosts in the LAN, this one among them. */
  readonly lan: Side[]
  /** The hosts behind the outermost NAT, this one among them. */
  readonly behind: Side[]

  constructor(options: {
    name: string
    namespace: string
    type: SideType
    index: number
    address: string
    publicAddresses: readonly string[]
    access: Cable
    address6: string | undefined
    nats: readonly Nat[]
    lan: Side[]
    behind: Side[]
  }) {
    super(options.name, options.namespace, 'eth0')
    this.type = options.type
    this.index = options.index
    this.address = options.address
    this.publicAddresses = options.publicAddresses
    this.publicAddress = options.publicAddresses[0] ?? options.address
    this.access = options.access
    this.address6 = options.address6
    this.nats = options.nats
    this.border = options.nats[0] ?? this
    this.lan = options.lan
    options.lan.push(this)
    this.behind = options.behind
    options.behind.push(this)
  }
}
