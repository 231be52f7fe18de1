import type { Gateway } from './gateway.js'
import { urlOn } from './ssdp.js'
import { elementsOf, parseXml, textOf } from './xml.js'

/** What a service of a router is for. */
export type Purpose = 'mappings' | 'pinholes'

/**
 * The kinds of services, the best first: mappings over Ethernet or cable, and over a line with a login; pinholes of a
 * firewall for IPv6. Every version is taken, and every spelling.
 */
const KINDS: readonly (readonly [RegExp, Purpose])[] = [
  [/^urn:schemas-upnp-org:service:WANIPConnection:[2-9]$/i, 'mappings'],
  [/^urn:schemas-upnp-org:service:WANIPConnection:1$/i, 'mappings'],
  [/^urn:schemas-upnp-org:service:WANPPPConnection:\d$/i, 'mappings'],
  [/^urn:schemas-upnp-org:service:WANIPv6FirewallControl:\d$/i, 'pinholes'],
]

/** A router has one for each of its connections to the outside, and perhaps two readings of where it is controlled. */
const MAX_SERVICES = 6

/** A service of a router, and where it is controlled. */
export interface Service {
  readonly type: string
  readonly purpose: Purpose
  readonly control: URL
}

/**
 * The services in a device description that map ports (UPnP Device Architecture 1.1, section 2.3).
 * @param location where the description came from
 */
export function parseDescription(xml: string, location: URL, gateway: Gateway): Service[] {
  const document = parseXml(xml)
  const base = urlOn(gateway, textOf(document, 'URLBase') ?? '') ?? location
  const ranked = elementsOf(document, 'service').flatMap((service) => {
    const type = textOf(service, 'serviceType') ?? ''
    const rank = KINDS.findIndex(([kind]) => kind.test(type))
    const purpose = KINDS[rank]?.[1]
    if (!purpose) return []
    const controls = controlsOf(gateway, textOf(service, 'controlURL') ?? '', base, location)
    return controls.map((control) => ({ rank, service: { type, purpose, control } }))
  })
  return ranked
    .sort((a, b) => a.rank - b.rank)
    .map(({ service }) => service)
    .slice(0, MAX_SERVICES)
}

/**
 * A relative URL counts from the base, as the standard has it; many routers mean the root of their web server, or wrote a base
 * that is another one's.
 */
function controlsOf(gateway: Gateway, text: string, base: URL, location: URL): URL[] {
  const readings = [base, new URL('/', base), location, new URL('/', location)]
  const urls = readings.flatMap((reading) => urlOn(gateway, text, reading) ?? [])
  const hrefs = [...new Set(urls.map(({ href }) => href))]
  return hrefs.map((href) => new URL(href))
}
