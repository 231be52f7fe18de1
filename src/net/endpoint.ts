import { BlockList, isIP, isIPv4, isIPv6, SocketAddress } from 'node:net'
import { PlexusError } from '../errors/index.js'

/** A transport address: an IP address in its canonical text form, without brackets or zone, and a UDP port. */
export interface Endpoint {
  readonly address: string
  readonly port: number
}

export type Family = 4 | 6

/** The address family of an endpoint, from its address. */
export function familyOf(endpoint: { readonly address: string }): Family {
  return isIPv4(endpoint.address) ? 4 : 6
}

/**
 * The canonical text of an IP address: lower case, IPv6 compressed, an IPv4-mapped IPv6 address as IPv4.
 * @throws PlexusError BAD_ENDPOINT if it is not an IP address
 */
export function canonicalAddress(text: string): string {
  if (isIPv4(text)) return text
  if (!isIPv6(text) || text.includes('%'))
    throw new PlexusError('BAD_ENDPOINT', `'${text}' is not an IP address.`)
  const address = new SocketAddress({ address: text, family: 'ipv6' }).address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  return mapped?.[1] ?? address
}

/** `a.b.c.d:port` or `[v6]:port`. */
export function formatEndpoint(endpoint: Endpoint): string {
  return isIPv6(endpoint.address)
    ? `[${endpoint.address}]:${endpoint.port}`
    : `${endpoint.address}:${endpoint.port}`
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.address === b.address
}

/** A host that may still be a name, and a port. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

/**
 * Parses `host`, `host:port`, `v4:port`, `[v6]:port` or a bare IPv6 address.
 * @param defaultPort used when the text names none; without it a port is required
 * @throws PlexusError BAD_ENDPOINT
 */
export function parseHostPort(text: string, defaultPort?: number): HostPort {
  const bad = (why: string) => new PlexusError('BAD_ENDPOINT', `'${text}' is not an address: ${why}.`)
  let host = text
  let portText: string | undefined
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/s.exec(text)
  if (bracketed) {
    host = bracketed[1] ?? ''
    portText = bracketed[2]
    if (!isIPv6(host)) throw bad('only IPv6 addresses go in brackets')
  } else if (!isIPv6(text)) {
    const colon = text.lastIndexOf(':')
    if (colon >= 0) {
      host = text.slice(0, colon)
      portText = text.slice(colon + 1)
    }
  }
  if (isIP(host) === 0 && !/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?$/.test(host))
    throw bad('the host is not a valid name')
  if (portText === undefined) {
    if (defaultPort === undefined) throw bad('the port is missing')
    return { host, port: defaultPort }
  }
  const port = Number(portText)
  if (!/^\d{1,5}$/.test(portText) || port > 65535) throw bad('a port is a number from 0 to 65535')
  return { host, port }
}

/**
 * Parses an endpoint whose host is an IP address.
 * @throws PlexusError BAD_ENDPOINT
 */
export function parseEndpoint(text: string, defaultPort?: number): Endpoint {
  const { host, port } = parseHostPort(text, defaultPort)
  return { address: canonicalAddress(host), port }
}

/**
 * What kind of address it is, for ordering candidates and for refusing nonsense (the registries of RFC 6890).
 * - `private`: of a network of its own (RFC 1918, RFC 4193)
 * - `shared`: between a carrier and its customers: 100.64.0.0/10 (RFC 6598), and what DS-Lite and 464XLAT use (RFC 7335)
 * - `documentation`: an example (RFC 5737, RFC 3849, RFC 9637); where somebody uses it, it stands for a public address
 * - `reserved`: nobody has it on the internet: IPv4 benchmarks (RFC 2544), which TUN proxies give to their interfaces, and
 *   identifiers
 * - `translated`: it stands for an IPv4 address behind a translator or a relay: NAT64, 6to4, Teredo
 * - `unusable`: nothing can be sent there, or it leads back to where no peer can be
 */
export type Scope =
  | 'loopback'
  | 'link-local'
  | 'private'
  | 'shared'
  | 'documentation'
  | 'reserved'
  | 'translated'
  | 'global'
  | 'unusable'

/** The first list that an address is in counts. */
const SCOPES: readonly (readonly [Scope, BlockList])[] = [
  ['loopback', blocks('127.0.0.0/8', '::1/128')],
  ['link-local', blocks('169.254.0.0/16', 'fe80::/10')],
  // site-local addresses (RFC 3879) are what ULA has replaced
  ['private', blocks('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fec0::/10')],
  ['shared', blocks('100.64.0.0/10', '192.0.0.0/29')],
  // anycast services within 192.0.0.0/24 and 2001::/23 that the internet does route (RFC 7723, 8155, 7450, 7535, 9374)
  ['global', blocks('192.0.0.9/32', '192.0.0.10/32', '2001:1::1/128', '2001:1::2/128', '2001:1::3/128')],
  ['global', blocks('2001:3::/32', '2001:4:112::/48', '2001:30::/28')],
  [
    'unusable',
    // "this network", dummy, NAT64 discovery, multicast, reserved and broadcast; discard-only, IPv4-compatible and -mapped
    blocks(
      ...['0.0.0.0/8', '192.0.0.8/32', '192.0.0.170/31', '224.0.0.0/4', '240.0.0.0/4'],
      ...['::/96', '::ffff:0:0:0/96', '100::/64', '100:0:0:1::/64', 'ff00::/8'],
    ),
  ],
  ['documentation', blocks('192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24')],
  // and the benchmarks of IPv6 (RFC 5180), used like them: in a laboratory
  ['documentation', blocks('2001:db8::/32', '3fff::/20', '2001:2::/48')],
  ['reserved', blocks('198.18.0.0/15', '192.0.0.0/24', '5f00::/16')],
  ['translated', blocks('64:ff9b::/96', '64:ff9b:1::/48', '2002::/16', '2001::/32')],
  ['reserved', blocks('2001::/23')],
]

function blocks(...prefixes: string[]): BlockList {
  const list = new BlockList()
  for (const prefix of prefixes) {
    const [net, bits] = prefix.split('/') as [string, string]
    list.addSubnet(net, Number(bits), isIPv4(net) ? 'ipv4' : 'ipv6')
  }
  return list
}

/**
 * The scope of an IP address. Anything that is no IP address is `unusable`, and so is an IPv6 address that stands for an
 * IPv4 address which is not of the internet: it would lead into the network of whoever translates.
 */
export function scopeOf(address: string): Scope {
  if (isIP(address) === 0) return 'unusable'
  const family = isIPv4(address) ? 'ipv4' : 'ipv6'
  const scope = SCOPES.find(([, list]) => list.check(address, family))?.[0] ?? 'global'
  if (scope !== 'translated') return scope
  const inner = translatedAddress(address)
  return inner === undefined || isPublic(inner) ? scope : 'unusable'
}

/** Whether an address is one of the internet, which everybody can send to unless something filters. */
export function isPublic(address: string): boolean {
  const scope = scopeOf(address)
  return scope === 'global' || scope === 'documentation'
}

/** The IPv4 address that one of NAT64's well-known prefix (RFC 6052) or of 6to4 (RFC 3056) stands for. */
function translatedAddress(address: string): string | undefined {
  const groups = groupsOf(address)
  if (groups[0] === 0x64 && groups[1] === 0xff9b && groups[2] === 0) return dotted(groups[6], groups[7])
  return groups[0] === 0x2002 ? dotted(groups[1], groups[2]) : undefined
}

function dotted(high = 0, low = 0): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address
  const [head = '', tail] = canonical.split('::')
  const before = groupsIn(head)
  const after = groupsIn(tail ?? '')
  return [...before, ...new Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0), ...after]
}

function groupsIn(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
    return [a * 256 + b, c * 256 + d]
  })
}

/** What one customer has, as far as limits are concerned: an IPv4 address, or the /64 that an IPv6 address is of. */
export function prefixOf(address: string): string {
  if (!isIPv6(address)) return address
  const groups = groupsOf(address).slice(0, 4)
  return `${groups.map((group) => group.toString(16)).join(':')}::/64`
}
