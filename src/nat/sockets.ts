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
export const SOCKETS = FIRST_SAMPLE + SAMPLES

/** What a socket is for, by its number. */
export function roleOf(socket: number): string {
  if (socket === MAIN) return 'mapping'
  if (socket === FILTER) return 'filtering'
  return `sample ${socket - FIRST_SAMPLE + 1}`
}

/** A datagram to send. */
export interface Transmit {
  readonly socket: number
  readonly data: Buffer
  readonly to: Endpoint
}
