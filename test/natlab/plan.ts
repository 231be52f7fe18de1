import { addresses, type Cable } from './addresses.js'
import type { Machine } from './machine.js'
import { type NatType, natRules } from './nat.js'
import type { Network } from './network.js'
import { portMapperRules } from './port-mapper.js'
import { Provider } from './provider.js'
import { Nat, Side, type SideOptions, type SideType } from './side.js'

/** What a side is called, and the number that its addresses are made from. */
interface Naming {
  readonly name: string
  readonly namespace: string
  readonly index: number
  readonly type: SideType
}

/** What a router or host is attached to. */
interface Above {
  readonly namespace: string
  /** The interface there, which is made for it. */
  readonly interface: string
  /** Whether it is a port of the switch there. */
  readonly bridge: boolean
}

/** How far the addresses of a router reach. */
interface Uplink {
  readonly cable: Cable
  readonly cable6: Cable
  readonly publicAddresses: readonly string[]
}

interface Families {
  readonly v4: boolean
  readonly v6: boolean
  readonly firewall: boolean
}

function familiesOf({ ipv6 = false }: SideOptions): Families {
  const only = ipv6 === 'only' || ipv6 === 'only-firewall'
  return { v4: !only, v6: ipv6 !== false, firewall: ipv6 === 'firewall' || ipv6 === 'only-firewall' }
}

/** Plans a side that is connected to the core by routers of its own, and says what it will be. */
export function planSide(network: Network, core: Machine, side: Naming, options: SideOptions): Side {
  const { name, namespace, index, type } = side
  const families = familiesOf(options)
  const { carrier = 'port-restricted', home = 'port-restricted' } = options
  const types: NatType[] = type === 'public' ? [] : type === 'double' ? [carrier, home] : [type]
  const nats = types.map(
    (nat, level) => new Nat(`${name}-nat${level + 1}`, `${namespace}-nat${level + 1}`, nat),
  )
  const access = options.portMapper ? addresses.mappableAccess(index) : addresses.access(index)
  const outside = new Provider(network, core, namespace, index, access, families.v6)
  if (type === 'firewall') outside.routeDown(addresses.dmz(index).prefix)
  if (nats.length > 0 && families.v6) outside.routeDown(addresses.lan6(index).prefix)
  let above: Above = outside.last
  let uplink: Uplink = {
    cable: access,
    cable6: addresses.access6(index),
    publicAddresses: Array.from({ length: options.publicAddresses ?? 1 }, (_, n) => nth(access.lower, n)),
  }
  const { publicAddresses } = uplink
  for (const [level, nat] of nats.entries()) {
    planNat(network, { nat, level, above, uplink, index, innermost: level === nats.length - 1 }, options)
    above = { namespace: nat.namespace, interface: nat.nextPort(), bridge: true }
    const cable = addresses.carrier(index)
    uplink = { cable, cable6: addresses.carrier6(index), publicAddresses: [cable.lower] }
  }
  network.namespace(namespace)
  network.link(namespace, 'eth0', above.namespace, above.interface)
  if (above.bridge) network.port(above.namespace, 'lan', above.interface)
  const place = { access, publicAddresses, nats, lan: [], behind: [] }
  if (nats.length > 0) return planHost(network, side, place, families)
  if (families.v4) {
    network.address(namespace, 'eth0', `${access.lower}/${access.length}`)
    network.route(namespace, 'default', access.upper)
  }
  const { lower: address6, upper: gateway6 } = addresses.access6(index)
  if (families.v6) {
    network.address(namespace, 'eth0', `${address6}/64`)
    network.route(namespace, 'default', gateway6)
  } else network.sysctl(namespace, 'ipv6/conf/eth0/disable_ipv6', 1)
  const address = families.v4 ? access.lower : address6
  return new Side({
    ...side,
    ...place,
    publicAddresses: [address],
    address,
    address6: families.v6 ? address6 : undefined,
  })
}

/** Plans a side whose router is behind the carrier's NAT of another. */
export function planCustomer(network: Network, side: Naming, neighbour: Side, options: SideOptions): Side {
  const { name, namespace, index, type } = side
  const [carrier] = neighbour.nats
  if (!carrier || neighbour.type !== 'double' || type !== 'double' || options.ipv6)
    throw new Error(`${name} cannot share the carrier of ${neighbour.name}: both are double, of IPv4 alone`)
  const nat = new Nat(`${name}-nat2`, `${namespace}-nat2`, options.home ?? 'port-restricted')
  const cable = addresses.carrier(neighbour.index, neighbour.behind.length)
  const uplink = { cable, cable6: addresses.carrier6(index), publicAddresses: [cable.lower] }
  const above = { namespace: carrier.namespace, interface: carrier.nextPort(), bridge: true }
  planNat(network, { nat, level: 1, above, uplink, index, innermost: true }, options)
  network.namespace(namespace)
  const port = nat.nextPort()
  network.link(namespace, 'eth0', nat.namespace, port)
  network.port(nat.namespace, 'lan', port)
  const { access, publicAddresses, behind } = neighbour
  const place = { access, publicAddresses, nats: [carrier, nat], lan: [], behind }
  return planHost(network, side, place, familiesOf(options))
}

/** Plans another host in the LAN of a side. */
export function planNeighbour(network: Network, side: Omit<Naming, 'index'>, neighbour: Side): Side {
  const { nats, lan, index, address6, behind, access, publicAddresses } = neighbour
  const inner = nats.at(-1)
  if (!inner || neighbour.type !== side.type)
    throw new Error(`${side.name} cannot share the LAN of ${neighbour.name}: one NAT has one type`)
  const port = inner.nextPort()
  network.namespace(side.namespace)
  network.link(side.namespace, 'eth0', inner.namespace, port)
  network.port(inner.namespace, 'lan', port)
  const families = { v4: neighbour.address !== address6, v6: address6 !== undefined, firewall: false }
  const place = { access, publicAddresses, nats, lan, behind }
  return planHost(network, { ...side, index }, place, families)
}

/** Plans one router with its rules. `level` counts from 0, the outermost. */
function planNat(
  network: Network,
  place: { nat: Nat; level: number; above: Above; uplink: Uplink; index: number; innermost: boolean },
  options: SideOptions,
): void {
  const { nat, level, above, uplink, index, innermost } = place
  const { cable, cable6, publicAddresses } = uplink
  const { namespace } = nat
  const { v6, firewall } = familiesOf(options)
  network.namespace(namespace)
  network.router(namespace)
  network.link(namespace, 'wan', above.namespace, above.interface)
  if (above.bridge) network.port(above.namespace, 'lan', above.interface)
  for (const address of publicAddresses) network.address(namespace, 'wan', `${address}/${cable.length}`)
  network.route(namespace, 'default', cable.upper)
  network.bridge(namespace, 'lan')
  const lan = nat.type === 'firewall' ? addresses.dmz(index) : addresses.lan(index)
  const carrier = addresses.carrier(index)
  const inside = innermost ? `${lan.gateway}/${lan.length}` : `${carrier.upper}/${carrier.length}`
  network.address(namespace, 'lan', inside)
  if (v6) {
    network.address(namespace, 'wan', `${cable6.lower}/${cable6.length}`)
    network.route(namespace, 'default', cable6.upper)
    const lan6 = addresses.lan6(index)
    const carrier6 = addresses.carrier6(index)
    network.address(namespace, 'lan', `${innermost ? lan6.gateway : carrier6.upper}/64`)
    if (!innermost) network.route(namespace, lan6.prefix, carrier6.lower)
    if (innermost && firewall && options.portMapper === undefined) network.rules(namespace, FIREWALL_6)
  }
  if (options.hairpin && level === 0) {
    for (const address of publicAddresses) network.turnBack(namespace, 'lan', address, cable.upper)
  }
  const { mappingTimeout = 120, banTime = 30, spared = [], step = 1 } = options
  const portMapper = innermost && options.portMapper !== undefined
  // conntrack forgets when the mapping does, in place of after 30 s without an answer
  network.sysctl(namespace, 'netfilter/nf_conntrack_udp_timeout', mappingTimeout)
  network.sysctl(namespace, 'netfilter/nf_conntrack_udp_timeout_stream', mappingTimeout)
  const turned = turnedBits(index, level)
  const settings = { publicAddresses, turned, mappingTimeout, banTime, spared, step, portMapper }
  network.rules(namespace, natRules(nat.type, settings))
  if (portMapper && options.portMapper)
    network.rules(namespace, portMapperRules(options.portMapper, v6 && firewall))
}

/** What a home router does with IPv6 (RFC 6092): what is inside may speak first, and be answered. */
const FIREWALL_6 = `table ip6 firewall {
chain through {
type filter hook forward priority filter;
iifname "wan" ct state established,related accept
iifname "wan" drop
}
}
`

/** The number of source ports that a host in a LAN draws from; a whole number of blocks of 1024 (see `turnedBits`). */
const HOST_PORTS = 8192

/** As many hosts behind a NAT as ranges of `HOST_PORTS` fit above 32768. */
const MAX_HOSTS = 4

function planHost(
  network: Network,
  side: Naming,
  behindNat: Pick<Side, 'access' | 'publicAddresses' | 'nats' | 'lan' | 'behind'>,
  { v4, v6 }: Families,
): Side {
  const { namespace, index, type } = side
  const { lan, behind } = behindNat
  if (behind.length === MAX_HOSTS) throw new Error(`a NAT of the laboratory has room for ${MAX_HOSTS} hosts`)
  const place = type === 'firewall' ? addresses.dmz(index) : addresses.lan(index)
  const place6 = addresses.lan6(index)
  const address6 = v6 ? place6.host(lan.length) : undefined
  const address = v4 || address6 === undefined ? place.host(lan.length) : address6
  if (v4) {
    network.address(namespace, 'eth0', `${address}/${place.length}`)
    network.route(namespace, 'default', place.gateway)
  }
  if (address6 !== undefined) {
    network.address(namespace, 'eth0', `${address6}/${place6.length}`)
    network.route(namespace, 'default', place6.gateway)
  } else network.sysctl(namespace, 'ipv6/conf/eth0/disable_ipv6', 1)
  // hosts behind one NAT draw from different ports, as a computed mapping gives equal ports an equal mapping
  const first = 32_768 + behind.length * HOST_PORTS
  network.sysctl(namespace, 'ipv4/ip_local_port_range', `${first} ${first + HOST_PORTS - 1}`)
  const seen = v4 && type !== 'firewall' ? behindNat.publicAddresses : [address]
  return new Side({ ...side, ...behindNat, address, publicAddresses: seen, address6 })
}

/** The address `n` after another one in its block. */
function nth(address: string, n: number): string {
  return address.replace(/\d+$/, (last) => String(Number(last) + n))
}

/** Below 1024, so a port stays in its block of 1024; different for each NAT; and no port that programs bind becomes 0. */
function turnedBits(index: number, level: number): number {
  return 0x100 + 2 * index + level + 1
}
