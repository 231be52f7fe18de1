import { asPlexusError, PlexusError } from '../errors/index.js'
import type { IdentityName, Repository } from '../identity/index.js'
import { ownIdentity } from './own-identity.js'
import type { Named } from './settings.js'

/**
 * Whom somebody has named, in full or in short. What is wrong names the place where it was said.
 * @param options `own`: only an identity with a private key can be meant by a short name
 * @throws PlexusError BAD_FLAG, IDENTITY_NAME, IDENTITY_MISSING, IDENTITY_AMBIGUOUS
 */
export async function resolveNamed(
  repository: Repository,
  { text, from }: Named,
  options: { own?: boolean } = {},
): Promise<IdentityName> {
  try {
    return await repository.resolve(text, options)
  } catch (thrown) {
    if (from === undefined) throw thrown
    const { code, message, advice } = asPlexusError(thrown)
    if (code === 'IDENTITY_NAME')
      throw new PlexusError('BAD_FLAG', `${from} is '${text}', but should be an identity as owner/pin.`, {
        cause: thrown,
      })
    throw new PlexusError(code, `${from}: ${message}`, { advice, cause: thrown })
  }
}

/** Your identity: the one that was named, else the only one with a private key. @throws as `resolveNamed` */
export async function resolveHost(repository: Repository, host: Named | undefined): Promise<IdentityName> {
  return host === undefined
    ? await ownIdentity(repository)
    : await resolveNamed(repository, host, { own: true })
}
