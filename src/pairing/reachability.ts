import { asPlexusError, PlexusError } from '../errors/index.js'
import { UdpPort } from '../net/index.js'
import { discover, isNameless } from '../stun/index.js'
import type { PairingContext } from './context.js'

/** How long the STUN servers are asked, in ms: as long as for an offer. */
const PATIENCE = 3000

/**
 * No STUN server answered, and nothing else came either. Where names do not resolve, nobody was asked, and that is the
 * cause; else whatever each says for itself, together they most likely mean that UDP is blocked.
 */
export function blocked(failure: PlexusError, also: string): PlexusError {
  if (isNameless(failure)) {
    const sentence = `Names do not resolve on this machine (DNS): ${also}. ${failure.message}`
    return new PlexusError('STUN_UNREACHABLE', sentence, {
      cause: failure,
      advice: 'Check the DNS configuration, or name STUN servers by address with --stun-server.',
    })
  }
  const message = `UDP does not seem to get out of this network, or answers do not get in: ${also}. ${failure.message}`
  return new PlexusError('UDP_BLOCKED', message, { cause: failure })
}

/**
 * Asks the STUN servers from a port of its own whether UDP gets out at all.
 * @param also what else did not work, for the sentence
 * @returns the error to tell of if it does not; undefined if it does, or there is nobody to ask
 * @throws the signal's reason
 */
export async function findBlocked(
  context: PairingContext,
  also: string,
  signal: AbortSignal,
): Promise<PlexusError | undefined> {
  const { clock, random, log, stunServers, bind } = context
  if (stunServers.length === 0) return undefined
  const port = UdpPort.open(bind.address === undefined ? {} : { address: bind.address })
  try {
    await discover(port, stunServers, { clock, random, log, signal, timeout: PATIENCE })
    return undefined
  } catch (thrown) {
    if (signal.aborted) throw thrown
    return blocked(asPlexusError(thrown), also)
  } finally {
    await port.close()
  }
}
