import { lstat, rm, rmdir, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeWord, PlexusError } from '../errors/index.js'
import type { IdentityName } from './name.js'
import type { Repository } from './repository.js'

/**
 * Takes an identity out of the repository: whoever it belongs to can no longer pair, and what runs for it ends.
 * Everything in its directory goes; of a directory that is a symbolic link only the link.
 * @throws PlexusError REPOSITORY
 */
export async function removeIdentity(repository: Repository, name: IdentityName): Promise<void> {
  const { certificate, nextCertificate } = repository.paths(name)
  const directory = join(repository.path, name.owner, name.pin)
  try {
    if ((await lstat(directory)).isSymbolicLink()) await unlink(directory)
    else {
      // the certificates first: what an interruption leaves is nobody who could be let in
      for (const path of [certificate, nextCertificate]) await rm(path, { force: true })
      await rm(directory, { recursive: true })
    }
  } catch (cause) {
    throw new PlexusError(
      'REPOSITORY',
      `The directory ${directory} cannot be removed (${codeWord(cause)}).`,
      {
        advice: 'Run it as the user that owns the repository.',
        cause,
      },
    )
  }
  await rmdir(dirname(directory)).catch(() => {}) // it has other pins
}
