import { PlexusError } from '../errors/index.js'
import { canonicalAddress, type Endpoint, parseEndpoint, scopeOf } from '../net/index.js'

/**
 * The one line that plexus 3.x peers tell each other: where they are, and half of the secret. The form of 3.0 is the
 * only one that is written: every 3.x reads it, and answers it in the same form.
 */

/** How a NAT depends on the destination, as a peer of 3.3 or later found its own. */
export type Dependence = 'independent' | 'port-dependent' | 'address-dependent' | 'address-and-port-dependent'

/** What such a peer says about the NAT in front of it. */
export interface Firewall {
  readonly nat: boolean
  readonly hairpin: boolean
  readonly randomPort: boolean
  readonly variableAddress: boolean
  readonly mapping: Dependence
  readonly filtering: Dependence
}

export interface PeerMessage {
  readonly version: '3.0' | '3.3' | '3.4'
  /** The peer's public UDP endpoint. */
  readonly endpoint: Endpoint
  /** The peer's half of the secret: 64 bits. */
  readonly puzzle: bigint
  /** Only in the forms of 3.3 and 3.4. */
  readonly firewall?: Firewall
  /** What transports and roles the peer wants, such as `udp:either`, as it wrote it. Only in 3.3 and 3.4. */
  readonly qos?: string
}

/** The longest line of 3.4, with four IPv6 endpoints, has some 350 characters. */
const MAX_LENGTH = 512
/** 2^64 - 1 has 20 decimal digits. */
const DECIMAL = /^\d{1,20}$/
const MAX_PUZZLE = 2n ** 64n - 1n

/** What the forms consist of, after `PLEXUS <version>`; a field that is not used here may hold any word. */
const FORMS = {
  '3.0': ['ip', 'port', 'puzzle'],
  '3.3': ['timestamp', 'udp', 'firewall', 'tcp', 'tcpFirewall', 'qos', 'puzzle'],
  '3.4': [
    'timestamp',
    'udp',
    'firewall',
    'udpRelay',
    'udpRoute',
    'tcp',
    'tcpFirewall',
    'tcpRelay',
    'tcpRoute',
    'qos',
    'puzzle',
  ],
} as const

const DEPENDENCE: readonly Dependence[] = [
  'independent',
  'port-dependent',
  'address-dependent',
  'address-and-port-dependent',
]

/** `PLEXUS 3.0 <ip> <port> <puzzle>`, without a line end. */
export function writeMessage({ endpoint, puzzle }: Pick<PeerMessage, 'endpoint' | 'puzzle'>): string {
  return `PLEXUS 3.0 ${endpoint.address} ${endpoint.port} ${BigInt.asUintN(64, puzzle)}`
}

/**
 * Reads any of the three forms, with white space around it.
 * @throws PlexusError MALFORMED; NO_PATH when it is well-formed but names no UDP endpoint that can be used
 */
export function readMessage(text: string): PeerMessage {
  if (text.length > MAX_LENGTH) throw malformed()
  const [name, version, ...fields] = text.trim().split(' ')
  if (name !== 'PLEXUS' || !isVersion(version)) throw malformed()
  const form: readonly string[] = FORMS[version]
  if (fields.length !== form.length || fields.some((field) => !/^[\x21-\x7e]+$/.test(field)))
    throw malformed()
  const field = (wanted: string) => fields[form.indexOf(wanted)] ?? ''
  const puzzle = puzzleOf(field('puzzle'))
  if (version === '3.0') return { version, endpoint: checked(field('ip'), field('port')), puzzle }
  if (!DECIMAL.test(field('timestamp'))) throw malformed()
  const firewall = firewallOf(field('firewall'))
  return { version, endpoint: longEndpoint(field('udp')), puzzle, firewall, qos: field('qos') }
}

/** What both sides know and nobody else: the two puzzles, XORed. 64 bits. */
export function secretOf(inviter: bigint, accepter: bigint): bigint {
  return inviter ^ accepter
}

function isVersion(text: string | undefined): text is keyof typeof FORMS {
  return text !== undefined && Object.hasOwn(FORMS, text)
}

function puzzleOf(text: string): bigint {
  const puzzle = DECIMAL.test(text) ? BigInt(text) : MAX_PUZZLE + 1n
  if (puzzle > MAX_PUZZLE) throw malformed()
  return puzzle
}

function checked(ip: string, portText: string): Endpoint {
  let address: string
  try {
    address = canonicalAddress(ip)
  } catch {
    throw malformed()
  }
  const port = Number(portText)
  if (!/^\d{1,5}$/.test(portText) || port > 65535) throw malformed()
  return usable({ address, port })
}

function longEndpoint(text: string): Endpoint {
  let endpoint: Endpoint
  try {
    endpoint = parseEndpoint(text)
  } catch {
    throw malformed()
  }
  return usable(endpoint)
}

function usable(endpoint: Endpoint): Endpoint {
  if (endpoint.port !== 0 && scopeOf(endpoint.address) !== 'unusable') return endpoint
  throw new PlexusError('NO_PATH', 'The plexus 3.x peer does not offer a UDP endpoint.', {
    advice: 'Let that peer use UDP, in any role and by the direct route (udp:either).',
  })
}

/** Eight binary digits: four flags, then twice two bits. */
function firewallOf(text: string): Firewall {
  if (!/^[01]{8}$/.test(text)) throw malformed()
  const flag = (at: number) => text[at] === '1'
  const dependence = (at: number) => DEPENDENCE[Number.parseInt(text.slice(at, at + 2), 2)] ?? 'independent'
  return {
    nat: flag(0),
    hairpin: flag(1),
    randomPort: flag(2),
    variableAddress: flag(3),
    mapping: dependence(4),
    filtering: dependence(6),
  }
}

function malformed(): PlexusError {
  return new PlexusError('MALFORMED', 'The message of the plexus 3.x peer is malformed.')
}
