import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { codeWord, PlexusError } from '../errors/index.js'

/** A directory of this process alone (0700), for as long as it is wanted. */
export interface TemporaryDirectory {
  readonly path: string
  /** Removes it with all that is in it. Never rejects. */
  remove(): Promise<void>
}

/** @param prefix what its name begins with @throws PlexusError STATE_DIRECTORY */
export async function openTemporaryDirectory(prefix: string): Promise<TemporaryDirectory> {
  const parent = tmpdir()
  try {
    const path = await mkdtemp(join(parent, prefix))
    return { path, remove: () => rm(path, { recursive: true, force: true }).catch(() => {}) }
  } catch (cause) {
    const why = codeWord(cause)
    throw new PlexusError('STATE_DIRECTORY', `No temporary directory can be created in ${parent} (${why}).`, {
      advice: 'Set TMPDIR to a directory that this user may write.',
      cause,
    })
  }
}
