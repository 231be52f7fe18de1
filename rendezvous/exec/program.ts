import { accessSync, constants, realpathSync, type Stats, statSync } from 'node:fs'
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path'
import { PlexusError } from '../../src/errors/index.js'

/** Where a command is looked for when there is no PATH, as in confstr(_CS_PATH). */
const DEFAULT_PATH = '/bin:/usr/bin'
/** Mode bits by which the group or everybody may write, and the one that keeps them from replacing what is not theirs. */
const WRITABLE = 0o022
const STICKY = 0o1000

/**
 * The absolute path of the command of a rendezvous: a name with a slash is a path from the current directory, any
 * other is searched in the absolute directories of `path`.
 * @throws PlexusError COMMAND_MISSING if this user may not run it, or if others could put something else in its place
 *   while this program runs as root
 */
export function findProgram(name: string, path: string = DEFAULT_PATH): string {
  const candidates = name.includes('/')
    ? [resolve(name)]
    : path
        .split(delimiter)
        .filter(isAbsolute) // an empty or relative entry would make the current directory decide what runs
        .map((directory) => join(directory, name))
  const found = candidates.find(isExecutable)
  if (found === undefined) {
    const where = name.includes('/') ? '' : ' in a directory of PATH'
    throw refused(
      `There is no command ${name}${where} that this user may run`,
      'Give exec: the path of an executable file, or make it one with chmod +x.',
    )
  }
  if (process.getuid?.() === 0) refuseWritable(found)
  return found
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/** Root runs nothing that somebody else could have put there: the file, and the directory that it lies in. */
function refuseWritable(file: string): void {
  const real = realpathSync(file)
  const directory = statSync(dirname(real))
  const open = othersWrite(statSync(real)) || (othersWrite(directory) && (directory.mode & STICKY) === 0)
  if (!open) return
  throw refused(
    `The command ${file} could be replaced by other users, and this is root`,
    `Run chown root and chmod go-w on ${real} and on its directory.`,
  )
}

function othersWrite({ mode, uid }: Stats): boolean {
  return uid !== 0 || (mode & WRITABLE) !== 0
}

function refused(sentence: string, advice: string): PlexusError {
  return new PlexusError('COMMAND_MISSING', `${sentence}.`, { advice })
}
