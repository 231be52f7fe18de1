import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { PlexusError } from '../errors/index.js'
import { addressBytes, sleep } from '../net/index.js'
import type { Gateway } from './gateway.js'
import type { MapperContext } from './protocol.js'

/** Where devices listen (UPnP Device Architecture 1.1, section 1.3.2 and annex A.4.2). */
const GROUP = '239.255.255.250'
const GROUP_6 = 'ff02::c'
const PORT = 1900

/**
 * What is searched for in each round, and the wait after it, in ms. A router takes up to MX seconds, which cannot be less
 * than one, to answer what was sent to all, and answers at once what was sent to it alone. First a router of version 1, which
 * those of version 2 answer to as well, or of version 2 alone; then by the service, and by what every device answers to,
 * because some routers know no other name of themselves.
 */
const ROUNDS: readonly { readonly targets: readonly string[]; readonly wait: number }[] = [
  { targets: ['device:InternetGatewayDevice:1', 'device:InternetGatewayDevice:2'], wait: 300 },
  {
    targets: [
      'device:InternetGatewayDevice:1',
      'device:InternetGatewayDevice:2',
      'service:WANIPConnection:1',
      'service:WANIPConnection:2',
      'service:WANPPPConnection:1',
      'upnp:rootdevice',
    ],
    wait: 1200,
  },
  { targets: ['device:InternetGatewayDevice:1', 'upnp:rootdevice', 'ssdp:all'], wait: 2000 },
]

/** A router may be a media server and a printer too, each with a description of its own. */
const MAX_LOCATIONS = 8

/**
 * Asks the default gateway where its descriptions are (SSDP), and gives each as its answer comes.
 * What anybody else answers is not looked at, nor a description anywhere but on the gateway itself: whoever is in the LAN
 * could send this machine to any address inside it.
 * @throws PlexusError PORT_MAPPING if it names none in time, or the signal's reason
 */
export async function* locations(context: MapperContext, signal: AbortSignal): AsyncGenerator<URL, void> {
  const { clock, gateway } = context
  signal.throwIfAborted()
  const socket = createSocket(isIPv6(gateway.own) ? 'udp6' : 'udp4')
  const group = isIPv6(gateway.own) ? `${GROUP_6}%${gateway.interface ?? ''}` : GROUP
  const found: URL[] = []
  let news = new AbortController()
  const wake = () => news.abort()
  signal.addEventListener('abort', wake, { once: true })
  let state: 'open' | 'failed' = 'open'
  try {
    await new Promise<void>((resolve) => {
      const onerror = () => {
        state = 'failed'
        wake()
        resolve()
      }
      socket.on('error', onerror)
      socket.bind(0, gateway.own, () => {
        try {
          // else the system sends by the default route whatever the address
          socket.setMulticastInterface(
            gateway.interface === undefined ? gateway.own : `::%${gateway.interface}`,
          )
        } catch {
          // the address has gone: then the gateway alone is asked
        }
        resolve()
      })
    })
    socket.on('message', (data, { address }) => {
      if (address !== gateway.address || found.length >= MAX_LOCATIONS) return
      const location = parseLocation(data, gateway)
      if (!location || found.some(({ href }) => href === location.href)) return
      found.push(location)
      wake()
    })
    let given = 0
    for (const { targets, wait } of ROUNDS) {
      if (signal.aborted || (state as string) === 'failed') break
      for (const target of targets) {
        for (const host of [gateway.address, group]) socket.send(search(target), PORT, host, () => {})
      }
      const until = clock.now() + wait
      while (clock.now() < until && !signal.aborted && (state as string) === 'open') {
        if (given === found.length) {
          if (news.signal.aborted) news = new AbortController()
          await sleep(clock, until - clock.now(), news.signal).catch(() => {})
        }
        while (given < found.length) yield found[given++] as URL
      }
    }
    signal.throwIfAborted()
    if (given === 0) throw new PlexusError('PORT_MAPPING', 'The router does not answer UPnP.')
  } finally {
    signal.removeEventListener('abort', wake)
    socket.removeAllListeners('message')
    socket.close()
  }
}

/** A search request (UPnP Device Architecture 1.1, section 1.3.2). */
function search(target: string): Buffer {
  const lines = [
    'M-SEARCH * HTTP/1.1',
    `HOST: ${GROUP}:${PORT}`,
    'MAN: "ssdp:discover"',
    'MX: 1',
    `ST: ${/^(?:device|service):/.test(target) ? `urn:schemas-upnp-org:${target}` : target}`,
    '',
    '',
  ]
  return Buffer.from(lines.join('\r\n'))
}

/** The URL of the description in an answer to a search; undefined unless it lies on the gateway. */
export function parseLocation(data: Uint8Array, gateway: Gateway): URL | undefined {
  const [status = '', ...lines] = Buffer.from(data).toString('latin1').split(/\r?\n/)
  if (!/^HTTP\/1(?:\.\d)?[ \t]+200(?!\d)/i.test(status)) return undefined
  for (const line of lines) {
    const [, value] = /^location[ \t]*:[ \t]*(\S{1,512})[\s\0]*$/i.exec(line) ?? []
    if (value !== undefined) return urlOn(gateway, value)
  }
  return undefined
}

/**
 * A URL, if it is plain HTTP on the gateway itself: by its number, for a name could lead anywhere. A router has several IPv6
 * addresses, and is known by the one that packets are sent over; it may name another one that is in this machine's own /64.
 */
export function urlOn(gateway: Gateway, text: string, base?: URL): URL | undefined {
  if (text === '' || !URL.canParse(text, base?.href)) return undefined
  const url = new URL(text, base)
  const plain = url.protocol === 'http:' && url.username === '' && url.password === ''
  return plain && isOn(gateway, url.hostname.replace(/^\[|\]$/g, '')) ? url : undefined
}

function isOn({ address, own }: Gateway, host: string): boolean {
  if (!isIPv6(own) || !isIPv6(host)) return host === address
  const prefix = (of: string) => addressBytes(of).subarray(0, 8).toString('hex')
  return host === address.replace(/%.*/, '') || (host !== own && prefix(host) === prefix(own))
}
