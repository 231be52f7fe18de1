import type { SideType } from './index.js'

/** The kinds of network that the matrix pairs, both ways round. */
export const MATRIX_TYPES = [
  'public',
  'firewall',
  'full-cone',
  'address-restricted',
  'port-restricted',
  'double',
  'blacklisting',
  'symmetric',
  'symmetric-sequential',
  'address-dependent-mapping',
  'udp-blocked',
] as const satisfies readonly SideType[]

export type MatrixType = (typeof MATRIX_TYPES)[number]

/** How two networks find a direct path, by what is known of NATs (RFC 4787, RFC 5128). */
export type Way =
  /** Both sides send to the endpoint that STUN has shown, or that answers. */
  | 'punch'
  /** One side forecasts the ports that the other's NAT gives out in sequence. */
  | 'prediction'
  /** One side opens many sockets and the other looks for one of them. */
  | 'search'

/** What has to come of a pairing. */
export type Expectation =
  | { readonly path: Way }
  /** The code with which the inviter ends. */
  | { readonly reason: string }

/** What another side can know of the port that a network's mapping towards it has. */
const PORT: Readonly<Record<MatrixType, 'known' | 'predictable' | 'unknown' | 'none'>> = {
  public: 'known',
  firewall: 'known',
  'full-cone': 'known',
  'address-restricted': 'known',
  'port-restricted': 'known',
  double: 'known',
  blacklisting: 'known',
  symmetric: 'unknown',
  'symmetric-sequential': 'predictable',
  // the same for every port of one address, and a random one for each address: a STUN server never sees it
  'address-dependent-mapping': 'unknown',
  'udp-blocked': 'none',
}

/** The networks that let in a peer whose port they do not know. */
const LETS_IN: ReadonlySet<MatrixType> = new Set(['public', 'full-cone', 'address-restricted'])

/** The codes of pairings that cannot be: of the side that is cut off, of its peer, and of both of two unpredictable NATs. */
export const REASONS = {
  blocked: ['RENDEZVOUS_UNREACHABLE', 'STUN_UNREACHABLE', 'UDP_BLOCKED'],
  silent: ['PEER_SILENT'],
  impossible: ['NO_PATH'],
} as const

export type Reason = keyof typeof REASONS

/** A pair of networks: a direct path, or the reason why there is none. */
export interface Cell {
  readonly inviter: MatrixType
  readonly accepter: MatrixType
  readonly expected: Way | Reason
}

/** What theory says of a pair. */
export function expectation(inviter: MatrixType, accepter: MatrixType): Way | Reason {
  if (PORT[inviter] === 'none') return 'blocked'
  if (PORT[accepter] === 'none') return 'silent'
  const ports = [PORT[inviter], PORT[accepter]]
  if (ports.every((port) => port === 'known')) return 'punch'
  if (ports.every((port) => port === 'predictable')) return 'prediction'
  // two random ports have to be hit at once, by packets that each open but one
  if (!ports.includes('known')) return 'impossible'
  const known = PORT[inviter] === 'known' ? inviter : accepter
  if (LETS_IN.has(known)) return 'punch'
  return ports.includes('predictable') ? 'prediction' : 'search'
}

/** All the cells, row by row: the inviter's network names the row. */
export const CELLS: readonly Cell[] = MATRIX_TYPES.flatMap((inviter) =>
  MATRIX_TYPES.map((accepter) => ({ inviter, accepter, expected: expectation(inviter, accepter) })),
)

/** Whether a path has to be found. */
export function hasPath(expected: Cell['expected']): expected is Way {
  return !(expected in REASONS)
}
