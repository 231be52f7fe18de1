import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { isIPv4, isIPv6 } from 'node:net'
import { endianness, platform } from 'node:os'
import { addressText, type Endpoint, isPublic, scopeOf, sourceAddress } from '../net/index.js'

/** The router that this machine sends everything else to, and the local address by which it knows this machine. */
export interface Gateway {
  /** IPv4, or IPv6 with a zone */
  readonly address: string
  readonly own: string
  /** For IPv6: the interface that the router is reached by. */
  readonly interface?: string
}

/** Linux: a line for each route, in hexadecimal and the byte order of the machine. */
const ROUTES = '/proc/net/route'
/** Linux: destination, its prefix length, source, its prefix length, next hop, metric, two counts, flags, interface; in hexadecimal. */
const ROUTES_6 = '/proc/net/ipv6_route'
/** RTF_UP and RTF_GATEWAY of route(7): a route that is usable, and leads over a router. */
const UP = 1
const OVER_A_ROUTER = 2

/** How long the routing table of another system may take to be printed, in ms. */
const PRINTING = 1000

/**
 * Some address of the internet, a root server of the DNS, to ask the routing table for the way there: nothing is sent.
 */
const ANYWHERE: Endpoint = { address: '198.41.0.4', port: 9 }
const ANYWHERE_6: Endpoint = { address: '2001:503:ba3e::2:30', port: 9 }

/**
 * The default gateway for IPv4, whose port mappings can help: undefined where there is none, where this machine has a
 * public address already, and where everything goes through a VPN instead, so that an answer would not come by the way
 * of the question.
 * @param bound the local address that the port is bound to, if it is not bound to all of them
 */
export async function defaultGateway(bound?: string): Promise<Gateway | undefined> {
  if (bound !== undefined && !isIPv4(bound)) return undefined
  const address = await gatewayAddress()
  if (address === undefined) return undefined
  const own = await sourceAddress({ address, port: ANYWHERE.port })
  if (own === undefined || (bound !== undefined && bound !== own)) return undefined
  if (bound === undefined && (await sourceAddress(ANYWHERE)) !== own) return undefined
  const scope = scopeOf(own)
  return scope === 'private' || scope === 'shared' ? { address, own } : undefined
}

/**
 * The default gateway for IPv6, if this machine has a public address behind it that a firewall may keep packets from.
 * @param bound the local address that the port is bound to, if it is not bound to all of them
 */
export async function defaultGateway6(bound?: string): Promise<Gateway | undefined> {
  if ((bound !== undefined && !isIPv6(bound)) || platform() !== 'linux') return undefined
  const own = bound ?? (await sourceAddress(ANYWHERE_6))
  if (own === undefined || !isPublic(own)) return undefined
  const found = await readFile(ROUTES_6, 'latin1').then(parseRoutes6, () => undefined)
  return found ? { ...found, own } : undefined
}

/** The gateway of the default route with the smallest metric in the text of /proc/net/ipv6_route, with its zone. */
export function parseRoutes6(table: string): { address: string; interface: string } | undefined {
  let best: { address: string; interface: string; metric: number } | undefined
  for (const line of table.split('\n')) {
    const [destination, length, , , hop = '', metricText = '', , , flags = '', name] = line
      .trim()
      .split(/\s+/)
    if (!/^0{32}$/.test(destination ?? '') || length !== '00' || !/^[0-9a-f]{32}$/.test(hop)) continue
    const up = Number.parseInt(flags, 16)
    if ((up & UP) === 0 || (up & OVER_A_ROUTER) === 0 || name === undefined) continue
    const metric = Number.parseInt(metricText, 16)
    const text = addressText(Buffer.from(hop, 'hex'))
    const address = scopeOf(text) === 'link-local' ? `${text}%${name}` : text
    if (best === undefined || metric < best.metric) best = { address, interface: name, metric }
  }
  return best && { address: best.address, interface: best.interface }
}

async function gatewayAddress(): Promise<string | undefined> {
  switch (platform()) {
    case 'linux':
      return await readFile(ROUTES, 'latin1').then(
        (table) => parseRoutes(table, endianness()),
        () => undefined,
      )
    case 'darwin':
    case 'freebsd':
    case 'openbsd':
      return parseNetstat(await printed('netstat', ['-rn', '-f', 'inet']))
    default:
      return undefined
  }
}

/** The gateway of the default route with the smallest metric in the text of /proc/net/route. */
export function parseRoutes(table: string, order: 'LE' | 'BE'): string | undefined {
  let best: { address: string; metric: number } | undefined
  for (const line of table.split('\n').slice(1)) {
    const [, destination, gateway, flags, , , metricText, mask] = line.split('\t').map((word) => word.trim())
    if (destination !== '00000000' || mask !== '00000000' || !/^[0-9A-F]{8}$/i.test(gateway ?? '')) continue
    const up = Number.parseInt(flags ?? '', 16)
    if ((up & UP) === 0 || (up & OVER_A_ROUTER) === 0) continue
    const bytes = [...Buffer.from(gateway ?? '', 'hex')]
    const address = (order === 'LE' ? bytes.reverse() : bytes).join('.')
    const metric = Number(metricText)
    if (best === undefined || metric < best.metric) best = { address, metric }
  }
  return best?.address
}

/** The gateway of the first default route that `netstat -rn` of a BSD prints. */
export function parseNetstat(table: string): string | undefined {
  const routes = table.split('\n').map((line) => line.trim().split(/\s+/))
  return routes.find(([destination, gateway]) => destination === 'default' && isIPv4(gateway ?? ''))?.[1]
}

function printed(command: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(command, words, { timeout: PRINTING, killSignal: 'SIGKILL' }, (error, stdout) =>
      resolve(error ? '' : stdout),
    )
  })
}
