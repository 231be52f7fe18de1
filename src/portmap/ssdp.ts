import { createSocket } from 'node:dgram'
import { PlexusError } from '../errors/index.js'
import { sleep } from '../net/index.js'
import type { MapperContext } from './protocol.js'

/** Where devices listen (UPnP Device Architecture 1.1, section 1.3.2). */
const GROUP = '239.255.255.250'
const PORT = 1900

/** What is looked for: a router of version 1, which those of version 2 answer to as well, or of version 2 alone. */
const TARGETS: readonly string[] = [
  'urn:schemas-upnp-org:device:InternetGatewayDevice:1',
  'urn:schemas-upnp-org:device:InternetGatewayDevice:2',
]

/**
 * Waits for an answer, in ms. A router takes up to MX seconds, which cannot be less than one, to answer what was sent
 * to all, and answers at once what was sent to it alone. UDP gets lost, so each is said three times.
 */
const WAITS: readonly number[] = [300, 1200, 2000]

/**
 * Asks the default gateway where its description is (SSDP).
 * What anybody else answers is not looked at, nor a description anywhere but on the gateway itself: whoever is in the LAN
 * could send this machine to any address inside it.
 * @throws PlexusError PORT_MAPPING if it names none in time, or the signal's reason
 */
export async function locate(context: MapperContext, signal: AbortSignal): Promise<URL> {
  const { clock, gateway } = context
  signal.throwIfAborted()
  const socket = createSocket('udp4')
  let location: URL | undefined
  const enough = new AbortController()
  const onabort = () => enough.abort()
  signal.addEventListener('abort', onabort, { once: true })
  try {
    await new Promise<void>((resolve) => {
      const onerror = () => {
        enough.abort()
        resolve()
      }
      socket.on('error', onerror)
      socket.bind(0, gateway.own, () => {
        try {
          // else the system sends by the default route whatever the address
          socket.setMulticastInterface(gateway.own)
        } catch {
          // the address has gone: then the gateway alone is asked
        }
        resolve()
      })
    })
    socket.on('message', (data, { address }) => {
      if (address !== gateway.address) return
      location ??= parseLocation(data, gateway.address)
      if (location) enough.abort()
    })
    for (const wait of WAITS) {
      if (enough.signal.aborted) break
      for (const target of TARGETS) {
        for (const host of [gateway.address, GROUP]) socket.send(search(target), PORT, host, () => {})
      }
      await sleep(clock, wait, enough.signal).catch(() => {})
    }
  } finally {
    signal.removeEventListener('abort', onabort)
    socket.removeAllListeners('message')
    socket.close()
  }
  signal.throwIfAborted()
  if (!location) throw new PlexusError('PORT_MAPPING', 'The router does not answer UPnP.')
  return location
}

/** A search request (UPnP Device Architecture 1.1, section 1.3.2). */
function search(target: string): Buffer {
  const lines = [
    'M-SEARCH * HTTP/1.1',
    `HOST: ${GROUP}:${PORT}`,
    'MAN: "ssdp:discover"',
    'MX: 1',
    `ST: ${target}`,
    '',
    '',
  ]
  return Buffer.from(lines.join('\r\n'))
}

/** The URL of the description in an answer to a search; undefined unless it lies on the gateway. */
export function parseLocation(data: Uint8Array, gateway: string): URL | undefined {
  const [status = '', ...lines] = Buffer.from(data).toString('latin1').split(/\r?\n/)
  if (!/^HTTP\/1\.[01] 200\b/.test(status)) return undefined
  for (const line of lines) {
    const [, value] = /^location:[ \t]*(\S{1,512})[ \t]*$/i.exec(line) ?? []
    if (value !== undefined) return urlOn(gateway, value)
  }
  return undefined
}

/** A URL, if it is plain HTTP on the gateway itself: by its number, for a name could lead anywhere. */
export function urlOn(gateway: string, text: string, base?: URL): URL | undefined {
  if (text === '' || !URL.canParse(text, base?.href)) return undefined
  const url = new URL(text, base)
  const plain = url.protocol === 'http:' && url.username === '' && url.password === ''
  return plain && url.hostname === gateway ? url : undefined
}
