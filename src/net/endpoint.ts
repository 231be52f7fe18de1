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
    if (!isIPv6(host)) throw bad('only an IPv6 address stands in brackets')
  } else if (!isIPv6(text)) {
    const colon = text.lastIndexOf(':')
    if (colon >= 0) {
      host = text.slice(0, colon)
      portText = text.slice(colon + 1)
    }
  }
  if (isIP(host) === 0 && !/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?$/.test(host))
    throw bad('the host is not a name')
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
 * What kind of address it is, for ordering candidates and for refusing nonsense (RFC 6890).
 * `shared` is the carrier-grade NAT range 100.64.0.0/10 (RFC 6598).
 */
export type Scope = 'loopback' | 'link-local' | 'private' | 'shared' | 'global' | 'unusable'

const SCOPES: readonly (readonly [Scope, BlockList])[] = [
  ['loopback', blocks('127.0.0.0/8', '::1/128')],
  ['link-local', blocks('169.254.0.0/16', 'fe80::/10')],
  ['private', blocks('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7')],
  ['shared', blocks('100.64.0.0/10')],
  ['unusable', blocks('0.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4', '::/128', 'ff00::/8')],
]

function blocks(...prefixes: string[]): BlockList {
  const list = new BlockList()
  for (const prefix of prefixes) {
    const [net, bits] = prefix.split('/') as [string, string]
    list.addSubnet(net, Number(bits), isIPv4(net) ? 'ipv4' : 'ipv6')
  }
  return list
}

/** The scope of an IP address. Anything that is no IP address is `unusable`. */
export function scopeOf(address: string): Scope {
  if (isIP(address) === 0) return 'unusable'
  const family = isIPv4(address) ? 'ipv4' : 'ipv6'
  return SCOPES.find(([, list]) => list.check(address, family))?.[0] ?? 'global'
}
