import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { PlexusError } from '../../src/errors/index.js'
import { exposure } from '../../src/files/index.js'

/**
 * Reads a file that holds a secret. As ssh does with keys, one that others can read is refused: they may have it already.
 * @throws PlexusError KEY_READABLE, or the system's error
 */
export function readSecretFile(path: string): Buffer {
  // a pipe must not hold up the whole program, and could be read at one login alone
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = fstatSync(file)
    if (!stats.isFile())
      throw new PlexusError('BAD_FLAG', `${path} is not a regular file.`, {
        advice: 'Name a file that can be read at each login, or use --email-password-command.',
      })
    // of what was opened, not of what the path names a moment later
    const found = exposure(path, stats)
    if (found)
      throw new PlexusError('KEY_READABLE', `The file ${path} ${found.why}.`, { advice: found.remedy })
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}
