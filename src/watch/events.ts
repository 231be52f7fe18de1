import type { ErrorCode, PlexusError } from '../errors/index.js'
import type { Endpoint, Mapping } from '../net/index.js'
import type { Outcome } from './outcome.js'

/**
 * What becomes known while pairings and tunnels go on, as plain data without secrets. Peers are `owner/pin`, times are in
 * ms, sessions are ids of 32 hex digits.
 */

/** An endpoint at which a side may be reached. */
export interface SeenCandidate {
  /** `host`, `reflexive`, … */
  readonly kind: string
  readonly endpoint: Endpoint
}

/** What became of one candidate of the peer; times since the punch began. */
export interface CandidateSteps {
  readonly candidate: SeenCandidate
  readonly checked?: number
  readonly heard?: number
  readonly proven?: number
  readonly nominated?: number
  /** The shortest round trip that was measured. */
  readonly rtt?: number
}

/** How loud the log is to be about what a peer can bring about as often as it likes. */
export type Loudness = 'warn' | 'debug' | 'none'

/** `plexus:pairing`: the steps of a session, in this order. */
export type PairingEvent =
  /** An inviter begins. */
  | {
      readonly name: 'inviting'
      readonly peer: string
      readonly app: string
      /** The name of the rendezvous. */
      readonly over: string
    }
  /** The inviter's own candidates are known. */
  | { readonly name: 'gathered'; readonly candidates: readonly SeenCandidate[] }
  /** The invite lies in the peer's mailbox. */
  | { readonly name: 'posted'; readonly took: number }
  /** An accepter takes an invite: for a command, or for a ping. */
  | {
      readonly name: 'invited'
      readonly session: string
      readonly peer: string
      readonly purpose: 'ping' | undefined
    }
  /** An accepter turns one down. */
  | {
      readonly name: 'refused'
      readonly session: string
      readonly peer: string
      readonly code: ErrorCode
      readonly sentence: string
      readonly loudness: Loudness
    }
  /** The peer's answer has come. */
  | { readonly name: 'answered'; readonly peer: string }
  /** The punch is over, well or not. */
  | {
      readonly name: 'punched'
      readonly candidates: readonly CandidateSteps[]
      /** What is known of both NATs by now. */
      readonly mapping: { readonly own: Mapping; readonly peer: Mapping }
    }
  /** A session of an accepter came to nothing. */
  | {
      readonly name: 'failed'
      readonly session: string
      readonly peer: string
      readonly error: PlexusError
      readonly loudness: Loudness
    }
  /** How a session went: once it is a passage or has failed, and again when its command has ended. */
  | {
      readonly name: 'outcome'
      readonly outcome: Outcome
      /** A newer passage has taken its place: nobody waits for the end of this one. */
      readonly superseded: boolean
    }
  /** An inviter that goes on will pair again. */
  | { readonly name: 'waiting'; readonly wait: number }

/** `plexus:path`: ways to the peer that carry something. */
export type PathEvent =
  /** Both sides know a hole to be open. */
  | {
      readonly name: 'open'
      readonly session: string
      readonly peer: string
      readonly inner: Endpoint
      readonly outer: Endpoint
      readonly faraway: Endpoint
      /** As of the candidate: `host`, `reflexive`, … */
      readonly kind: string
      readonly rtt: number | undefined
      /** In the dialect of an older peer. */
      readonly dialect?: 'plexus-3'
      /** The peer has not said so, but was answered and fell silent. */
      readonly bySilence?: boolean
      /** How long the punch took. */
      readonly took: number
    }
  /** The peer's datagrams come from elsewhere now. */
  | { readonly name: 'moved'; readonly from: Endpoint; readonly to: Endpoint }

/** What a tunnel tells at any moment. */
export interface TunnelReading {
  /** Where the peer is now. */
  readonly path: Endpoint
  /** Round trip in ms; undefined before it was measured. */
  readonly rtt: number | undefined
  readonly streams: number
  readonly flows: number
  /** Bytes of the datagrams that were authentic, and of those sent. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Datagrams that were lost, and what was in them sent again. */
  readonly retransmitted: number
}

/** `plexus:tunnel`: tunnels that services are forwarded through; `tunnel` tells them apart. */
export type TunnelEvent =
  /** The peer has proven that it has the key. */
  | {
      readonly name: 'up'
      readonly tunnel: object
      readonly peer: string
      /** For who asks later. */
      readonly read: () => TunnelReading
    }
  /** It never came up. */
  | {
      readonly name: 'silent'
      readonly peer: string
      readonly error: PlexusError
      /** Whether this side had ended it before. */
      readonly closed: boolean
    }
  | {
      readonly name: 'over'
      readonly tunnel: object
      readonly peer: string
      readonly end: 'closed' | 'peer-closed' | 'dead' | 'failed'
      readonly error: PlexusError | undefined
      /** How long it was up. */
      readonly lasted: number
      readonly reading: TunnelReading
    }

/** `plexus:connection`: connections and flows of datagrams through tunnels. */
export type ConnectionEvent =
  | {
      readonly name: 'opened'
      /** `in` for a service of this side, `out` for one of the peer. */
      readonly direction: 'in' | 'out'
      readonly service: string
      readonly carries: 'stream' | 'datagrams'
    }
  | { readonly name: 'closed'; readonly direction: 'in' | 'out'; readonly service: string }
  /** It came to nothing: the service was not there, or no tunnel was. */
  | { readonly name: 'failed'; readonly direction: 'in' | 'out'; readonly service: string }
