import { urlOn } from './ssdp.js'

/** The services that map ports, the best first: over Ethernet or cable, and over a line with a login. */
const SERVICES: readonly string[] = [
  'urn:schemas-upnp-org:service:WANIPConnection:2',
  'urn:schemas-upnp-org:service:WANIPConnection:1',
  'urn:schemas-upnp-org:service:WANPPPConnection:1',
]

/** A router has one for each of its connections to the outside. */
const MAX_SERVICES = 4

/** A service of a router that maps ports, and where it is controlled. */
export interface Service {
  readonly type: string
  readonly control: URL
}

/**
 * The services in a device description that map ports (UPnP Device Architecture 1.1, section 2.3). No more of XML is
 * read than a router writes, in one pass: without entities, and whatever the text claims to be.
 * @param location where the description came from
 */
export function parseDescription(xml: string, location: URL): Service[] {
  const gateway = location.hostname
  const base = urlOn(gateway, elementOf(xml, 'URLBase') ?? '') ?? location
  const found = elements(xml, 'service').flatMap((service) => {
    const type = elementOf(service, 'serviceType')
    const control = urlOn(gateway, elementOf(service, 'controlURL') ?? '', base)
    return type !== undefined && SERVICES.includes(type) && control ? [{ type, control }] : []
  })
  const rank = ({ type }: Service) => SERVICES.indexOf(type)
  return found.sort((a, b) => rank(a) - rank(b)).slice(0, MAX_SERVICES)
}

/** The text of the first element of a name, without the white space around it. */
export function elementOf(xml: string, name: string): string | undefined {
  return elements(xml, name, 1)[0]?.trim()
}

/** What stands in the elements of a name, whatever their prefix and attributes; none of them inside another. */
function elements(xml: string, name: string, most = Number.POSITIVE_INFINITY): string[] {
  const found: string[] = []
  const tag = new RegExp(`<(/?)(?:[\\w.-]{1,32}:)?${name}(?:\\s[^<>]{0,256})?>`, 'g')
  let begin: number | undefined
  for (const match of xml.matchAll(tag)) {
    if (match[1] === '') begin = match.index + match[0].length
    else if (begin !== undefined) {
      found.push(xml.slice(begin, match.index))
      begin = undefined
      if (found.length >= most) break
    }
  }
  return found
}
