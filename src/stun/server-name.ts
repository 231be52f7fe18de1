import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { codeOf, PlexusError } from '../errors/index.js'
import {
  canonicalAddress,
  type Endpoint,
  type Family,
  familyOf,
  type HostPort,
  parseHostPort,
  scopeOf,
} from '../net/index.js'
import type { NameFailure } from './survey.js'

/** The port of STUN over UDP when a server is named without one (RFC 8489 section 18.6). */
export const STUN_PORT = 3478
/** How many addresses of one name are asked in each family: one may be down; a long list is no reason to flood. */
const ADDRESSES_PER_FAMILY = 2

/** Finds the addresses of a name; `dns.promises.lookup` is one. */
export type Resolve = (
  host: string,
  options: { all: true },
) => Promise<readonly { readonly address: string }[]>

export const lookupAll: Resolve = (host) => lookup(host, { all: true })

/** `host`, `host:port`, `[v6]:port`. @throws PlexusError BAD_ENDPOINT */
export function parseServer(text: string): HostPort {
  const server = parseHostPort(text, STUN_PORT)
  if (server.port === 0) throw new PlexusError('BAD_ENDPOINT', `'${text}' is not a STUN server: port 0.`)
  return server
}

/** What of a server's addresses can be sent to with these families. */
export function reachable(
  families: readonly Family[],
  addresses: readonly string[],
  serverPort: number,
): Endpoint[] {
  const usable = addresses.filter((address) => scopeOf(address) !== 'unusable')
  return families.flatMap((family) =>
    usable
      .filter((address) => familyOf({ address }) === family)
      .slice(0, ADDRESSES_PER_FAMILY)
      .map((address) => ({ address, port: serverPort })),
  )
}

/** The addresses of a name; those with a zone belong to one link and are of no use. Never rejects. */
export async function addressesOf(host: string, resolve: Resolve): Promise<string[] | NameFailure> {
  if (isIP(host)) return [canonicalAddress(host)]
  try {
    const found = await resolve(host, { all: true })
    return found.flatMap(({ address }) =>
      isIP(address) && !address.includes('%') ? [canonicalAddress(address)] : [],
    )
  } catch (error) {
    const code = codeOf(error)
    return { kind: 'unresolved', code: typeof code === 'string' ? code : 'no reason given' }
  }
}
