import { Machine } from './machine.js'
import { namespaceFile } from './namespace.js'
import { flushRules, type NatType } from './nat.js'

/** `public` has no NAT; `double` is a port-restricted NAT behind the carrier's. */
export type SideType = 'public' | 'double' | NatType

export interface SideOptions {
  /** Also an IPv6 address, routed from end to end without filtering. Not by default. */
  readonly ipv6?: boolean
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
  /** Another host in the LAN of this side, behind its NAT. The type must be the same. */
  readonly sameLanAs?: Side
}

/** A router with interfaces `wan` and `lan`, the latter a switch with ports `port0`, `port1`, … */
export class Nat extends Machine {
  readonly type: NatType

  constructor(name: string, namespace: string, type: NatType) {
    super(name, namespace, 'wan')
    this.type = type
  }

  /** A line of shell that forgets every mapping, ban and connection. */
  get flushScript(): string {
    const file = namespaceFile(this.namespace)
    return `nsenter --net=${file} sh -ec 'conntrack -F 2>/dev/null; nft -f -' <<'END'\n${flushRules(this.type)}END\n`
  }
}

/** A host at the edge of the internet, with what stands between: the thing that pairs. */
export class Side extends Machine {
  readonly type: SideType
  /** The number that its addresses are made from. */
  readonly index: number
  /** Its own IPv4 address. */
  readonly address: string
  /** The IPv4 address that others see. */
  readonly publicAddress: string
  /** Its own IPv6 address, if it was asked for; others see the same. */
  readonly address6: string | undefined
  /** The NATs on its way, the outermost first. */
  readonly nats: readonly Nat[]
  /** Where packets from the internet arrive: the outermost NAT, or the host itself. Watch it with `lab.capture`. */
  readonly border: Machine
  /** The hosts in the LAN, this one among them. */
  readonly lan: Side[]

  constructor(options: {
    name: string
    namespace: string
    type: SideType
    index: number
    address: string
    publicAddress: string
    address6: string | undefined
    nats: readonly Nat[]
    lan: Side[]
  }) {
    super(options.name, options.namespace, 'eth0')
    this.type = options.type
    this.index = options.index
    this.address = options.address
    this.publicAddress = options.publicAddress
    this.address6 = options.address6
    this.nats = options.nats
    this.border = options.nats[0] ?? this
    this.lan = options.lan
    options.lan.push(this)
  }
}
