import { PlexusError } from '../../errors/index.js'
import type { Ending } from './connection-state.js'
import type { TunnelOver } from './interface.js'

/** As its user is told. */
export function overOf(ending: Ending): TunnelOver {
  switch (ending.name) {
    case 'closed':
      return { kind: 'closed' }
    case 'peer-closed':
      return { kind: 'peer-closed' }
    case 'silent':
      return {
        kind: 'dead',
        error: new PlexusError('TUNNEL_SILENT', 'The peer did not answer in the tunnel within 10 s.'),
      }
    case 'dead':
      return {
        kind: 'dead',
        error: new PlexusError('TUNNEL_LOST', 'Nothing came from the peer for 10 s.'),
      }
    case 'failed':
      return { kind: 'failed', error: new PlexusError('TUNNEL_LOST', ending.sentence) }
  }
}
