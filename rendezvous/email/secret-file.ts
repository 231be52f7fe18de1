import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { PlexusError } from '../../src/errors/index.js'

/**
 * Reads a file that holds a secret. As ssh does with keys, one that others can read is refused: they may have it already.
 * @throws PlexusError KEY_READABLE, or the system's error
 */
export function readSecretFile(path: string): Buffer {
  const file = openSync(path, 'r')
  try {
    // of what was opened, not of what the path names a moment later
    const { uid, mode } = fstatSync(file)
    const own = process.getuid?.()
    if (own !== undefined) {
      if (uid !== own && uid !== 0)
        throw new PlexusError('KEY_READABLE', `The file ${path} belongs to another user (uid ${uid}).`, {
          advice: `Run chown ${own} on it, and chmod 600.`,
        })
      if ((mode & 0o077) !== 0) {
        const octal = (mode & 0o7777).toString(8).padStart(4, '0')
        throw new PlexusError('KEY_READABLE', `The file ${path} is open to other users (mode ${octal}).`, {
          advice: `Run chmod 600 ${path}`,
        })
      }
    }
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}
