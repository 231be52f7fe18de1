import type { IdentityName } from '../identity/index.js'
import { invite as pair } from '../pairing/index.js'
import { spoken } from './option-words.js'
import { identityOption, type PairingOptions } from './options.js'
import { type Passage, passageOf } from './passage.js'
import { setUp } from './setup.js'

export interface InviteOptions extends PairingOptions {
  /** Who is invited, `owner/pin`: the repository holds its certificate. */
  readonly peer: string | IdentityName
}

/**
 * Pairs with one peer, once. The caller owns the passage and closes its socket. When it rejects, nothing is left open.
 * @throws PlexusError, whose `kind` tells what to do: `usage` (BAD_OPTION, KEY_MISSING, …) is a mistake in the options
 *   or the repository; `later` (PEER_SILENT, BUSY, PUNCH_TIMEOUT, …) may work another time; `impossible` never will;
 *   or the signal's reason
 */
export function invite(options: InviteOptions): Promise<Passage> {
  return spoken(async () => {
    const { signal = new AbortController().signal } = options
    signal.throwIfAborted()
    const peer = identityOption('peer', options.peer)
    const setup = await setUp(options)
    try {
      signal.throwIfAborted()
      return passageOf(await pair(setup.context, peer, { signal }), setup.context)
    } finally {
      await setup.close()
    }
  })
}
