import { isPublic, scopeOf } from '../net/index.js'
import type { FamilyReport, NatReport, PortMappingFinding } from './report.js'

/**
 * Whether there is another NAT beyond the local router: one that a port mapping on the router does not pass (RFC 6888). Only
 * what can be seen from inside tells: addresses of 100.64.0.0/10 and 192.0.0.0/29 are for between a carrier and its customers (RFC 6598, RFC 7335), a
 * router that does not have the address which the internet sees is behind somebody who has, and a filter that opens only
 * to a packet which lives longer than to the next router is not in that one.
 */
export function carrierOf(
  ipv4: FamilyReport | undefined,
  portMapping: PortMappingFinding,
): NatReport['carrier'] {
  if (!ipv4) return { verdict: 'unknown', why: 'no server was reached over IPv4' }
  if (!ipv4.translated) return { verdict: 'no', why: 'this machine has a public address' }
  const [seen = ''] = ipv4.publicAddresses
  const { own } = ipv4
  if (own !== undefined && scopeOf(own) === 'shared')
    return { verdict: 'yes', why: `your address ${own} is in a range that only carriers use` }
  if (!isPublic(seen))
    return { verdict: 'yes', why: `even a STUN server sees an address that is not public, ${seen}` }
  if (portMapping.is === 'available') {
    const { address } = portMapping.external
    if (ipv4.publicAddresses.includes(address))
      return { verdict: 'no', why: `the router itself has the public address ${address}` }
    return { verdict: 'yes', why: `the router has the address ${address}, and the internet sees ${seen}` }
  }
  const { hops } = ipv4
  if (hops === 1) return { verdict: 'no', why: 'the outermost NAT is the next router' }
  if (hops !== undefined)
    return { verdict: 'yes', why: `the outermost NAT is ${hops} routers away, beyond the next one` }
  return { verdict: 'unknown', why: 'the router maps no ports' }
}
