import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { codeWord, PlexusError } from '../errors/index.js'
import { makeDirectories, requireSafe } from '../files/index.js'

/**
 * The folder of one owner in a state directory: each identity and application has one of its own.
 * @param owner as `stateOwner` has it, or the name of what is shared by all of them
 */
export function stateFolder(base: string, owner: string): string {
  return join(base, createHash('sha256').update(owner).digest('hex').slice(0, 16))
}

/**
 * Makes that folder (0700), and refuses one that others decide on, or that this user cannot write.
 * @throws PlexusError STATE_DIRECTORY
 */
export async function openStateFolder(base: string, owner: string): Promise<string> {
  const directory = stateFolder(base, owner)
  try {
    await makeDirectories(directory, 0o700)
    await access(directory, constants.W_OK | constants.X_OK)
  } catch (cause) {
    const why = codeWord(cause)
    const sentence = `The state directory '${base}' cannot be created or written (${why}).`
    throw new PlexusError('STATE_DIRECTORY', sentence, { cause })
  }
  requireSafe(directory, `The state directory '${directory}'`, 'STATE_DIRECTORY')
  return directory
}
