import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import { refuseShared } from './writable.js'

/**
 * The folder of one owner in a state directory: each identity and application has one of its own.
 * @param owner as `stateOwner` has it, or the name of what is shared by all of them
 */
export function stateFolder(base: string, owner: string): string {
  return join(base, createHash('sha256').update(owner).digest('hex').slice(0, 16))
}

/**
 * Makes that folder (0700), and refuses one that others can touch.
 * @throws PlexusError STATE_DIRECTORY
 */
export async function openStateFolder(base: string, owner: string): Promise<string> {
  const directory = stateFolder(base, owner)
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new PlexusError('STATE_DIRECTORY', `The state directory '${dirname(directory)}' cannot be made.`, {
      cause,
    })
  }
  refuseShared(dirname(directory), { shared: true })
  refuseShared(directory, { shared: false })
  return directory
}
