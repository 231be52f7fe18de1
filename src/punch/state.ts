import type { Endpoint } from '../net/index.js'
import type { Candidate, CandidateKind } from './candidate.js'
import type { Pair } from './pair.js'
import type { Attempt, Strategy } from './plan.js'
import type { ProbeType } from './probe.js'

/** What the accepter has confirmed. */
export interface Confirmed {
  readonly pair: Pair
  /** From 1. */
  readonly nomination: number
  /** When the inviter cannot have acted on the confirmation any more. */
  readonly until: number
}

/** A hole that both sides know of. */
export interface PunchResult {
  /** The socket of this side that the path begins at; 0 is the one of the punch. */
  readonly socket: number
  /** By what the path was found. */
  readonly strategy: Strategy
  /** The endpoint of the peer to send to. */
  readonly peer: Endpoint
  readonly kind: CandidateKind
  /** The shortest round trip seen on the path, in ms. */
  readonly rtt: number | undefined
  /** This side's own endpoint as the peer reaches it on this path. */
  readonly outer: Endpoint | undefined
  /** Inviter: false if 300 ms passed without an acknowledgement of any DONE. Accepter: always true. */
  readonly acknowledged: boolean
}

export interface PunchFailure {
  /** `CANCELLED`: by `abort()` of this side. */
  readonly code: 'PUNCH_TIMEOUT' | 'PEER_ABORTED' | 'CANCELLED'
  /** The reason as it was sent or received, for example PUNCH_TIMEOUT. */
  readonly reason: string
  /** Endpoints that were tried, how many of them were heard, and how many proven by a round trip. */
  readonly tried: number
  readonly heard: number
  readonly proven: number
}

/**
 * Where a punch stands.
 *
 * ```
 * inviter   checking ─► nominating ─► finishing ─► succeeded
 * accepter  opening ─► checking ─► confirming ─► acknowledging ─► succeeded
 * both      … ─► aborting ─► failed, or … ─► failed when the peer said ABORT
 * ```
 */
export type PunchState =
  /** Accepter: only TTL-limited packets, as nothing was heard and patience has not run out. */
  | { readonly name: 'opening' }
  /** `settles`: inviter: when it nominates the best path it has. `confirmed`: accepter: the last one that came to nothing. */
  | { readonly name: 'checking'; readonly settles?: number; readonly confirmed?: Confirmed }
  | {
      readonly name: 'nominating'
      readonly pair: Pair
      readonly nomination: number
      /** A confirmation after this is not acted upon. */
      readonly until: number
      readonly next: number
      readonly interval: number
    }
  | { readonly name: 'confirming'; readonly confirmed: Confirmed }
  | {
      readonly name: 'finishing'
      readonly pair: Pair
      readonly nomination: number
      /** DONEs sent so far. */
      readonly sent: number
      /** When the next DONE goes out, or, after the last, when the inviter is settled. */
      readonly next: number
      readonly settled: number
    }
  | {
      readonly name: 'acknowledging'
      readonly confirmed: Confirmed
      readonly sent: number
      readonly next: number
    }
  | {
      readonly name: 'aborting'
      readonly failure: PunchFailure
      readonly remaining: readonly Pair[]
      readonly gap: number
      readonly next: number
    }
  | { readonly name: 'succeeded'; readonly result: PunchResult }
  | { readonly name: 'failed'; readonly failure: PunchFailure }

/** A datagram to send. */
export interface Transmit {
  /** 0 is the socket of the punch; another one is to be opened for its first datagram. */
  readonly socket: number
  readonly data: Buffer
  readonly to: Endpoint
  /** In hops; without it the system's default. */
  readonly ttl?: number
  /** For the log. */
  readonly type: ProbeType
}

/** What happened, for the log. */
export type PunchEvent =
  /** The first check to an endpoint goes out. */
  | { readonly name: 'checked'; readonly candidate: Candidate }
  /** The first authentic datagram came from an endpoint. */
  | { readonly name: 'heard'; readonly candidate: Candidate }
  /** An endpoint sent back its own challenge. */
  | { readonly name: 'proven'; readonly candidate: Candidate; readonly rtt: number | undefined }
  | { readonly name: 'nominated'; readonly candidate: Candidate; readonly rtt: number | undefined }
  | { readonly name: 'state'; readonly state: PunchState['name'] }
  /** An attempt beyond the direct one has begun. */
  | { readonly name: 'attempt'; readonly attempt: Exclude<Attempt, { kind: 'direct' }> }
