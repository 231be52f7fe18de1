import { createIdentity as create, type IdentityName, type IdentityPaths } from '../identity/index.js'
import { systemClock, systemRandom } from '../system/index.js'
import { spoken } from './option-words.js'
import { badOption, identityOption, type Surroundings } from './options.js'

export interface IdentityOptions extends Omit<Surroundings, 'log'> {
  /** RSA 3072 or EC P-256. `rsa`, as on the command line */
  readonly key?: 'rsa' | 'ec'
}

/**
 * Makes an identity, `owner/pin`, in a repository, which is made as well if there is none: a key pair and a
 * certificate that it signs for itself, good for ten years. Directories are 0700, the key 0600.
 * @returns the SHA-256 fingerprint of the certificate, and where its files lie
 * @throws PlexusError BAD_OPTION, IDENTITY_NAME, IDENTITY_EXISTS, REPOSITORY when it cannot be written
 */
export async function createIdentity(
  repository: string,
  name: string | IdentityName,
  { key = 'rsa', clock = systemClock, random = systemRandom }: IdentityOptions = {},
): Promise<{ fingerprint: string; paths: IdentityPaths }> {
  if (key !== 'rsa' && key !== 'ec') throw badOption('key', key, "'rsa' or 'ec'")
  return spoken(() => create(repository, identityOption('name', name), { key, random, date: clock.date() }))
}
