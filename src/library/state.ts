import { asPlexusError, PlexusError } from '../errors/index.js'
import { openStateFolder, openTemporaryDirectory } from '../place/index.js'

/** A directory for the persistent state of one identity in one application. */
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
    if (base !== undefined) return { path: await openStateFolder(base, owner), close: async () => {} }
    const { path, remove } = await openTemporaryDirectory('plexus-')
    return { path, close: remove }
  } catch (cause) {
    const advice = "Name a directory that only this user may write in 'stateDirectory'."
    throw new PlexusError('STATE_DIRECTORY', asPlexusError(cause).message, { advice, cause })
  }
}
