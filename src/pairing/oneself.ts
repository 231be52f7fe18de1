import { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'

/**
 * An identity that invites itself would wait for an answer that nobody gives.
 * @throws PlexusError BAD_FLAG
 */
export function refuseOneself(peer: IdentityName, own: IdentityName): void {
  const name = formatIdentity(peer)
  if (name !== formatIdentity(own)) return
  throw new PlexusError('BAD_FLAG', `${name} is your own identity: there is nobody else to meet.`, {
    advice: 'Name the identity of the other machine; each machine needs one of its own.',
  })
}
