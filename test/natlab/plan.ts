import { addresses } from './addresses.js'
import type { Machine } from './machine.js'
import { type NatType, natRules } from './nat.js'
import type { Network } from './network.js'
import { Provider } from './provider.js'
import { Nat, Side, type SideOptions, type SideType } from './side.js'

/** Plans a side that is connected to the core by routers of its own, and says what it will be. */
export function planSide(
  network: Network,
  core: Machine,
  side: { name: string; namespace: string; index: number; type: SideType },
  options: SideOptions,
): Side {
  const { name, namespace, index, type } = side
  const ipv6 = options.ipv6 === true
  const types: NatType[] =
    type === 'public'
      ? []
      : type === 'double'
        ? [options.carrier ?? 'port-restricted', 'port-restricted']
        : [type]
  const nats = types.map(
    (nat, level) => new Nat(`${name}-nat${level + 1}`, `${namespace}-nat${level + 1}`, nat),
  )
  const outside = new Provider(network, core, namespace, index, ipv6)
  if (type === 'firewall') outside.routeDown(addresses.dmz(index).prefix)
  if (nats.length > 0 && ipv6) outside.routeDown(addresses.lan6(index).prefix)
  let above = outside.last
  let access = { ...addresses.access(index), v6: addresses.access6(index) }
  for (const [level, nat] of nats.entries()) {
    network.namespace(nat.namespace)
    network.router(nat.namespace)
    network.link(nat.namespace, 'wan', above.namespace, above.interface)
    if (above.bridge) network.port(above.namespace, 'lan', above.interface)
    network.address(nat.namespace, 'wan', `${access.lower}/${access.length}`)
    network.route(nat.namespace, 'default', access.upper)
    network.bridge(nat.namespace, 'lan')
    const inner = nats.length > level + 1
    const inside = inner ? addresses.carrier(index) : undefined
    const lan = type === 'firewall' ? addresses.dmz(index) : addresses.lan(index)
    network.address(nat.namespace, 'lan', `${inside?.upper ?? lan.gateway}/${inside?.length ?? lan.length}`)
    if (ipv6) {
      network.address(nat.namespace, 'wan', `${access.v6.lower}/${access.v6.length}`)
      network.route(nat.namespace, 'default', access.v6.upper)
      const inside6 = inner ? addresses.carrier6(index) : undefined
      const lan6 = addresses.lan6(index)
      network.address(nat.namespace, 'lan', `${inside6?.upper ?? lan6.gateway}/64`)
      if (inside6) network.route(nat.namespace, lan6.prefix, inside6.lower)
    }
    const { mappingTimeout = 120, banTime = 30, spared = [] } = options
    // conntrack forgets when the mapping does, in place of after 30 s without an answer
    network.sysctl(nat.namespace, 'netfilter/nf_conntrack_udp_timeout', mappingTimeout)
    network.sysctl(nat.namespace, 'netfilter/nf_conntrack_udp_timeout_stream', mappingTimeout)
    network.rules(
      nat.namespace,
      natRules(nat.type, {
        publicAddress: access.lower,
        turned: turnedBits(index, level),
        mappingTimeout,
        banTime,
        spared,
      }),
    )
    above = { namespace: nat.namespace, interface: 'port0', bridge: true }
    access = { ...addresses.carrier(index), v6: addresses.carrier6(index) }
  }
  network.namespace(namespace)
  network.link(namespace, 'eth0', above.namespace, above.interface)
  if (above.bridge) network.port(above.namespace, 'lan', above.interface)
  if (nats.length > 0) return planHost(network, side, nats, [], ipv6)
  network.address(namespace, 'eth0', `${access.lower}/${access.length}`)
  network.route(namespace, 'default', access.upper)
  if (ipv6) {
    network.address(namespace, 'eth0', `${access.v6.lower}/64`)
    network.route(namespace, 'default', access.v6.upper)
  } else network.sysctl(namespace, 'ipv6/conf/eth0/disable_ipv6', 1)
  const { lower: address } = access
  const address6 = ipv6 ? access.v6.lower : undefined
  return new Side({ ...side, address, publicAddress: address, address6, nats, lan: [] })
}

/** Plans another host in the LAN of a side. */
export function planNeighbour(
  network: Network,
  side: { name: string; namespace: string; type: SideType },
  neighbour: Side,
): Side {
  const { nats, lan, index, address6 } = neighbour
  const inner = nats.at(-1)
  if (!inner || neighbour.type !== side.type)
    throw new Error(`${side.name} cannot share the LAN of ${neighbour.name}: one NAT has one type`)
  const port = `port${lan.length}`
  network.namespace(side.namespace)
  network.link(side.namespace, 'eth0', inner.namespace, port)
  network.port(inner.namespace, 'lan', port)
  return planHost(network, { ...side, index }, nats, lan, address6 !== undefined)
}

/** The number of source ports that a host in a LAN draws from; a whole number of blocks of 1024 (see `turnedBits`). */
const HOST_PORTS = 8192

/** As many hosts in a LAN as ranges of `HOST_PORTS` fit above 32768. */
const MAX_HOSTS = 4

function planHost(
  network: Network,
  side: { name: string; namespace: string; index: number; type: SideType },
  nats: readonly Nat[],
  lan: Side[],
  ipv6: boolean,
): Side {
  const { namespace, index, type } = side
  if (lan.length === MAX_HOSTS) throw new Error(`a LAN of the laboratory has room for ${MAX_HOSTS} hosts`)
  const place = type === 'firewall' ? addresses.dmz(index) : addresses.lan(index)
  const place6 = addresses.lan6(index)
  const address = place.host(lan.length)
  network.address(namespace, 'eth0', `${address}/${place.length}`)
  network.route(namespace, 'default', place.gateway)
  const address6 = ipv6 ? place6.host(lan.length) : undefined
  if (address6 !== undefined) {
    network.address(namespace, 'eth0', `${address6}/${place6.length}`)
    network.route(namespace, 'default', place6.gateway)
  } else network.sysctl(namespace, 'ipv6/conf/eth0/disable_ipv6', 1)
  // hosts behind one NAT draw from different ports, as a computed mapping gives equal ports an equal mapping
  const first = 32_768 + lan.length * HOST_PORTS
  network.sysctl(namespace, 'ipv4/ip_local_port_range', `${first} ${first + HOST_PORTS - 1}`)
  const publicAddress = type === 'firewall' ? address : addresses.access(index).lower
  return new Side({ ...side, address, publicAddress, address6, nats, lan })
}

/** Below 1024, so a port stays in its block of 1024; different for each NAT; and no port that programs bind becomes 0. */
function turnedBits(index: number, level: number): number {
  return 0x100 + 2 * index + level + 1
}
