import { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'

/**
 * A ping of this side's identity measures nothing: who answers it, if anybody does, is this machine or one with the same key.
 * @throws PlexusError BAD_FLAG
 */
export function refuseOneself(peer: IdentityName, own: IdentityName): void {
  const name = formatIdentity(peer)
  if (name !== formatIdentity(own)) return
  throw new PlexusError('BAD_FLAG', `${name} is your own identity.`, {
    advice: 'Name the identity of the other machine; each machine needs its own.',
  })
}

/** What to add where nobody has answered an invite; an accepter may use the same identity, though it should not. */
export function ofOneself(peer: IdentityName, own: IdentityName): string {
  return formatIdentity(peer) === formatIdentity(own)
    ? ' This is your own identity: each machine needs its own.'
    : ''
}
