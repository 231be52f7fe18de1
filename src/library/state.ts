import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'

/** A directory for what outlasts a restart, of one identity in one application. */
export interface StateDirectory {
  readonly path: string
  /** Removes it if it is a temporary one. */
  close(): Promise<void>
}

/**
 * Makes the folder of an identity and an application in `base`, by the name that the command line gives it too, so
 * that a program may take over where a daemon was; without `base` a temporary one.
 * @throws PlexusError STATE_DIRECTORY
 */
export async function openState(
  base: string | undefined,
  app: string,
  host: IdentityName,
): Promise<StateDirectory> {
  try {
    if (base === undefined) {
      const path = await mkdtemp(join(tmpdir(), 'plexus-'))
      return { path, close: () => rm(path, { recursive: true, force: true }) }
    }
    const owner = `${app}\0${formatIdentity(host)}`
    const path = join(base, createHash('sha256').update(owner).digest('hex').slice(0, 16))
    await mkdir(path, { recursive: true, mode: 0o700 })
    return { path, close: async () => {} }
  } catch (cause) {
    const advice = "Name a directory that this user may write in 'stateDirectory'."
    const where = base === undefined ? 'A temporary directory' : `The state directory '${base}'`
    throw new PlexusError('STATE_DIRECTORY', `${where} cannot be made.`, { advice, cause })
  }
}
