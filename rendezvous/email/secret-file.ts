import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { PlexusError } from '../../src/errors/index.js'
import { exposure } from '../../src/files/index.js'

/**
 * Reads a file that holds a secret. As ssh does with keys, one that others can read is refused: they may have it already.
 * @throws PlexusError KEY_READABLE, or the system's error
 */
export function readSecretFile(path: string): Buffer {
  const file = openSync(path, 'r')
  try {
    // of what was opened, not of what the path names a moment later
    const found = exposure(path, fstatSync(file))
    if (found)
      throw new PlexusError('KEY_READABLE', `The file ${path} ${found.why}.`, { advice: found.remedy })
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}
