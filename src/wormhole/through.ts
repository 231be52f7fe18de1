import { PlexusError } from '../errors/index.js'
import { encodeHeader } from './header.js'
import type { Near } from './near.js'
import { splice } from './splice.js'
import type { Tunnel } from './tunnel/index.js'

/**
 * Joins one near end with the peer's service of a name, until both have said all.
 * @param tunnel one that is ready
 * @throws PlexusError SERVICE_REFUSED, SERVICE_UNREACHABLE, SERVICE_UNKNOWN, STREAM_RESET
 */
export async function through(tunnel: Tunnel, name: string, near: Near): Promise<void> {
  const end = await splice(near, tunnel.open(encodeHeader({ carries: 'stream', name })))
  if (end.kind === 'ended') return
  const over = await Promise.race([tunnel.over, undefined])
  if (over && over.kind !== 'closed') {
    throw new PlexusError('TUNNEL_LOST', over.error?.message ?? end.error.message, { cause: end.error })
  }
  throw end.error
}
