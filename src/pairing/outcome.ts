import type { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { formatEndpoint } from '../net/index.js'
import type { Outcome } from '../watch/index.js'
import type { Hole } from './passage.js'

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
