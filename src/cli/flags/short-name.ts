import { asPlexusError, PlexusError } from '../../errors/index.js'
import type { IdentityName, Repository } from '../../identity/index.js'

/**
 * Whom a flag names, in full or in short. What is wrong names the flag.
 * @param options `own`: only an identity with a private key can be meant by a short name
 * @throws PlexusError BAD_FLAG, IDENTITY_MISSING, IDENTITY_AMBIGUOUS
 */
export async function resolveFlag(
  repository: Repository,
  flag: string,
  text: string,
  options: { own?: boolean } = {},
): Promise<IdentityName> {
  try {
    return await repository.resolve(text, options)
  } catch (thrown) {
    const { code, message, advice } = asPlexusError(thrown)
    if (code === 'IDENTITY_NAME')
      throw new PlexusError('BAD_FLAG', `--${flag} is '${text}', but should be an identity as owner/pin.`, {
        cause: thrown,
      })
    throw new PlexusError(code, `--${flag}: ${message}`, { advice, cause: thrown })
  }
}
