import type { ErrorCode, PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { formatEndpoint } from '../net/index.js'
import type { Hole } from './passage.js'

/** How a pairing went, for a program: plain data without secrets, what `--result` writes. */
export interface Outcome {
  readonly paired: boolean
  /** Why the pairing, or the start of its command, failed; null if neither did. */
  readonly code: ErrorCode | null
  readonly sentence: string | null
  readonly advice: string | null
  /** The session's id; null if it came to none. */
  readonly session: string | null
  readonly addresses: { readonly inner: string; readonly outer: string; readonly peer: string } | null
  /** `owner/pin`, null if nobody was named. */
  readonly peer: string | null
  /** The exit code of the command, 128 and its number for a signal; null while it runs, and without one. */
  readonly exit: number | null
}

/** A pairing that made a passage. */
export function pairedOutcome(passage: Hole, exit: number | null = null): Outcome {
  const { inner, outer, faraway, peer, session } = passage
  return {
    paired: true,
    code: null,
    sentence: null,
    advice: null,
    session,
    addresses: {
      inner: formatEndpoint(inner),
      outer: formatEndpoint(outer),
      peer: formatEndpoint(faraway),
    },
    peer: formatIdentity(peer),
    exit,
  }
}

/** A pairing that failed, or whose command could not be started: then with its passage. */
export function failedOutcome(
  error: PlexusError,
  about: { passage?: Hole | undefined; peer?: IdentityName | undefined; session?: string } = {},
): Outcome {
  const { passage, peer, session } = about
  const failure = { code: error.code, sentence: error.message, advice: error.advice }
  if (passage) return { ...pairedOutcome(passage), ...failure }
  return {
    paired: false,
    ...failure,
    session: session ?? null,
    addresses: null,
    peer: peer ? formatIdentity(peer) : null,
    exit: null,
  }
}
