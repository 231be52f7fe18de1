import { lookup } from 'node:dns/promises'
import { isIPv4 } from 'node:net'
import type { NodeAddress } from 'hyperdht'
import { PlexusError } from '../../src/errors/index.js'
import { type Clock, type HostPort, parseHostPort, type Random, sleep, UdpPort } from '../../src/net/index.js'
import { wrongOption } from '../options.js'

/** The port of HyperDHT nodes when none is given. */
const DEFAULT_PORT = 49737
/** The port of OpenDHT, the network of the original plexus: a hint when nobody answers there. */
const OPENDHT_PORT = 4222
/** How long a name may take to resolve before the start goes on without it: longer than one DNS retry of 1 to 2 s. */
const RESOLVE_PATIENCE = 3000
/** How long to wait for an answer to a probe, in ms: two sends, and the round trip to the other side of the world. */
const PROBE_PATIENCE = 1200
/** Addresses used of one name. */
const ADDRESSES_A_NAME = 4

/** Who answers at a bootstrap address that does not answer as HyperDHT. */
export type Stranger = 'OpenDHT' | "BitTorrent's DHT" | 'something else'

/**
 * The bootstrap nodes named in a URL (`dht://host:port`, `dht:host:port,host:port`) and in the option
 * `dht-bootstrap`, which may hold several, comma-separated or as a list. Undefined if none is named.
 * @throws PlexusError BAD_RENDEZVOUS
 */
export function parseBootstrap(
  url: URL,
  option: string | readonly string[] | undefined,
): HostPort[] | undefined {
  const wrong = url.hash === '' ? wrongOption(url, []) : 'there is a # in it'
  if (wrong) throw new PlexusError('BAD_RENDEZVOUS', `'${url.href}': ${wrong}.`)
  const named = [url.host, url.pathname.replace(/^\/$/, ''), ...(option === undefined ? [] : [option].flat())]
  const texts = named
    .flatMap((text) => text.split(','))
    .map((text) => text.trim())
    .filter((text) => text !== '')
  if (texts.length === 0) return undefined
  return texts.map((text) => {
    try {
      const node = parseHostPort(text, DEFAULT_PORT)
      if (node.port === 0 || node.host.includes(':')) throw new Error('HyperDHT only runs over IPv4')
      return node
    } catch (cause) {
      throw new PlexusError('BAD_RENDEZVOUS', `'${text}' is not a HyperDHT bootstrap node.`, {
        advice: 'Write host:port, with a name or an IPv4 address.',
        cause,
      })
    }
  })
}

/** The addresses of bootstrap nodes. A name that does not resolve in time stays, for hyperdht to try again. */
export async function resolveBootstrap(nodes: readonly HostPort[], clock: Clock): Promise<NodeAddress[]> {
  const late = new AbortController()
  const limit = sleep(clock, RESOLVE_PATIENCE, late.signal).then(
    () => undefined,
    () => undefined,
  )
  const found = await Promise.all(
    nodes.map(async ({ host, port }) => {
      if (isIPv4(host)) return [{ host, port }]
      const lookedUp = lookup(host, { family: 4, all: true }).catch(() => undefined)
      const addresses = await Promise.race([lookedUp, limit])
      if (!addresses?.length) return [{ host, port }]
      return addresses.slice(0, ADDRESSES_A_NAME).map(({ address }) => ({ host: address, port }))
    }),
  )
  late.abort()
  return found.flat()
}

/** Asks addresses in other protocols who they are: undefined if all of them are silent. */
export async function findStranger(
  nodes: readonly NodeAddress[],
  context: { clock: Clock; random: Random; signal: AbortSignal },
): Promise<{ node: NodeAddress; stranger: Stranger } | undefined> {
  const asked = nodes.filter(({ host }) => isIPv4(host))
  const port = UdpPort.open({ address: '0.0.0.0' })
  const heard = new AbortController()
  let found: { node: NodeAddress; stranger: Stranger } | undefined
  port.listen(({ data, from }) => {
    const node = asked.find(({ host, port }) => host === from.address && port === from.port)
    if (!node || found) return
    found = { node, stranger: recognise(data) }
    heard.abort()
  })
  const stop = () => heard.abort()
  context.signal.addEventListener('abort', stop, { once: true })
  try {
    for (let send = 0; send < 2 && !heard.signal.aborted && !context.signal.aborted; send++) {
      for (const { host: address, port: to } of asked) {
        for (const ping of [openDhtPing(context.random), bitTorrentPing(context.random)])
          port.send(ping, { address, port: to })
      }
      await sleep(context.clock, PROBE_PATIENCE / 2, heard.signal).catch(() => {})
    }
  } finally {
    context.signal.removeEventListener('abort', stop)
    await port.close()
  }
  return found
}

/** The sentence about a bootstrap that belongs to another network. */
export function foreign({ node, stranger }: { node: NodeAddress; stranger: Stranger }): PlexusError {
  const who =
    stranger === 'OpenDHT'
      ? 'it answers as OpenDHT, the network of the original plexus'
      : `it answers as ${stranger}; perhaps you meant an OpenDHT node of the original plexus`
  return new PlexusError(
    'RENDEZVOUS_FOREIGN',
    `The bootstrap node ${node.host}:${node.port} is not a HyperDHT node: ${who}.`,
  )
}

/** The sentence about bootstrap nodes that say nothing. */
export function unreachable(nodes: readonly NodeAddress[] | undefined, cause?: unknown): PlexusError {
  if (!nodes)
    return new PlexusError('RENDEZVOUS_UNREACHABLE', 'No bootstrap node of the public HyperDHT answers.', {
      cause,
    })
  const names = nodes.map(({ host, port }) => `${host}:${port}`).join(', ')
  const hint = nodes.some(({ port }) => port === OPENDHT_PORT)
    ? ' Port 4222 belongs to OpenDHT, the network of the original plexus.'
    : ''
  return new PlexusError(
    'RENDEZVOUS_UNREACHABLE',
    `No bootstrap node of the DHT answers (${names}).${hint}`,
    hint ? { advice: 'Name a bootstrap node of a HyperDHT network in --dht-bootstrap.', cause } : { cause },
  )
}

/** Whose answer this is. A map in msgpack is OpenDHT's, a dictionary in bencode BitTorrent's (BEP 5). */
function recognise(data: Buffer): Stranger {
  const first = data[0] ?? 0
  if (first >= 0x80 && first <= 0x8f) return 'OpenDHT'
  return first === 0x64 ? "BitTorrent's DHT" : 'something else'
}

/**
 * A ping of OpenDHT: `{ a: { id }, q: 'ping', t, y: 'q', v: 'RNG1' }` in msgpack, with a 20-byte id; the transaction
 * id as 4 bytes, the form that its old and new releases read.
 */
function openDhtPing(random: Random): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([0xa0 | value.length]), Buffer.from(value)])
  const bytes = (value: Buffer) => Buffer.concat([Buffer.from([0xc4, value.length]), value])
  return Buffer.concat([
    Buffer.from([0x85]),
    text('a'),
    Buffer.from([0x81]),
    text('id'),
    bytes(random(20)),
    text('q'),
    text('ping'),
    text('t'),
    bytes(random(4)),
    text('y'),
    text('q'),
    text('v'),
    text('RNG1'),
  ])
}

/** A ping of BitTorrent's DHT (BEP 5). */
function bitTorrentPing(random: Random): Buffer {
  return Buffer.concat([
    Buffer.from('d1:ad2:id20:'),
    random(20),
    Buffer.from('e1:q4:ping1:t2:'),
    random(2),
    Buffer.from('1:y1:qe'),
  ])
}
