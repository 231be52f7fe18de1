import type { Endpoint } from '../net/index.js'

/**
 * The sockets that a discovery needs, by number. What a NAT does to one of them must not be disturbed by the test of
 * another: so the mapping, the filtering and the giving out of ports have sockets of their own.
 */
export const MAIN = 0
export const FILTER = 1
export const FIRST_SAMPLE = 2
/** Six in a row show a pattern, and four still do when two get lost. */
export const SAMPLES = 6
/** One for each number of routers that the outermost NAT may be away: a carrier's is seldom further than the fourth. */
export const FIRST_HOP = FIRST_SAMPLE + SAMPLES
export const HOPS = 5
export const SOCKETS = FIRST_HOP + HOPS

/**
 * How much is found out: the whole; for an accepter what pairings go by, without what would disturb those of the next
 * minutes (mapping, ports, pooling, and whom a cone lets in); for an inviter, beside its pairing whose forecast of ports
 * another dozen mappings would spoil, mapping and whom a cone lets in.
 */
export type Depth = 'whole' | 'accepter' | 'inviter'

/** How many sockets that takes, from the first one on. */
export const SOCKETS_OF: Readonly<Record<Depth, number>> = {
  whole: SOCKETS,
  accepter: FIRST_SAMPLE + SAMPLES,
  inviter: FIRST_SAMPLE,
}

/** What a socket is for, by its number. */
export function roleOf(socket: number): string {
  if (socket === MAIN) return 'mapping'
  if (socket === FILTER) return 'filtering'
  if (socket >= FIRST_HOP) return `opened by a TTL of ${socket - FIRST_HOP + 2}`
  return `sample ${socket - FIRST_SAMPLE + 1}`
}

/** A datagram to send. */
export interface Transmit {
  readonly socket: number
  readonly data: Buffer
  readonly to: Endpoint
  /** In hops; without it the system's default. */
  readonly ttl?: number
}
