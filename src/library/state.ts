import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import { stateFolder } from '../place/index.js'

/** A directory for what outlasts a restart, of one identity in one application. */
export interface StateDirectory {
  readonly path: string
  /** Removes it if it is a temporary one. */
  close(): Promise<void>
}

/**
 * Makes the folder of an owner, an identity in an application, in `base`, by the name that the command line gives it too, so
 * that a program may take over where a daemon was; without `base` a temporary one.
 * @throws PlexusError STATE_DIRECTORY
 */
export async function openState(base: string | undefined, owner: string): Promise<StateDirectory> {
  try {
    if (base === undefined) {
      const path = await mkdtemp(join(tmpdir(), 'plexus-'))
      return { path, close: () => rm(path, { recursive: true, force: true }) }
    }
    const path = stateFolder(base, owner)
    await mkdir(path, { recursive: true, mode: 0o700 })
    return { path, close: async () => {} }
  } catch (cause) {
    const advice = "Name a directory that this user may write in 'stateDirectory'."
    const where = base === undefined ? 'A temporary directory' : `The state directory '${base}'`
    throw new PlexusError('STATE_DIRECTORY', `${where} cannot be created.`, { advice, cause })
  }
}
