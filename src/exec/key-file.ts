import { type FileHandle, lstat, mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { codeOf, codeWord, PlexusError } from '../errors/index.js'
import { unsafeError, unsafePath } from '../files/index.js'
import type { Environment } from './environment.js'

/** A file of mode 0600 in a directory of its own of mode 0700, holding a key in base64 and a newline. */
export interface KeyFile {
  readonly path: string
  /** Removes the file and its directory; never throws. */
  remove(): Promise<void>
}

/** The name of such a directory says which process made it. */
const PREFIX = 'plexus-key-'
const NAME = /^plexus-key-(\d+)-\w+$/

/**
 * How long a key file stays, in ms, that a process left behind which was killed: its command lives on, and may read
 * the file again.
 */
const ABANDONED = 3_600_000

/**
 * Writes a key where only this user can read it: under systemd's RUNTIME_DIRECTORY, XDG_RUNTIME_DIR (both in memory,
 * as a rule), TMPDIR or /tmp, whichever can be written first. Removes there what processes that were killed left behind.
 * @throws PlexusError STATE_DIRECTORY if none can be
 */
export async function writeKeyFile(key: Buffer, env: Environment): Promise<KeyFile> {
  const directory = await privateDirectory(env)
  const remove = () => rm(directory, { recursive: true, force: true }).catch(() => {})
  const path = join(directory, 'key')
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      await file.writeFile(`${key.toString('base64')}\n`)
    } finally {
      await file.close()
    }
    return { path, remove }
  } catch (cause) {
    await remove()
    throw unwritable(cause)
  }
}

/**
 * A key file that is gone already, and open: for a command that nobody waits for, so that nothing stays
 * behind when it ends. Its reader finds it under the descriptor's number, in /dev/fd. The caller closes it.
 * @throws PlexusError STATE_DIRECTORY
 */
export async function openKeyFile(key: Buffer, env: Environment): Promise<FileHandle> {
  const file = await writeKeyFile(key, env)
  try {
    return await open(file.path, 'r')
  } finally {
    await file.remove()
  }
}

async function privateDirectory(env: Environment): Promise<string> {
  const parents = [env.RUNTIME_DIRECTORY?.split(':')[0], env.XDG_RUNTIME_DIR, env.TMPDIR, '/tmp']
  let cause: unknown
  for (const parent of parents) {
    if (parent === undefined || !isAbsolute(parent)) continue
    try {
      const directory = await mkdtemp(join(parent, `${PREFIX}${process.pid}-`))
      const unsafe = unsafePath(directory)
      if (unsafe) {
        // somebody else could put another key in its place
        await rm(directory, { recursive: true, force: true })
        throw unsafeError(unsafe, `The directory ${directory}`, 'STATE_DIRECTORY')
      }
      await removeAbandoned(parent, directory).catch(() => {}) // nothing depends on it
      return directory
    } catch (thrown) {
      cause = thrown
    }
  }
  throw unwritable(cause)
}

/** @param fresh a directory made just now, whose time says what now is for this file system */
async function removeAbandoned(parent: string, fresh: string): Promise<void> {
  const { mtimeMs: now, uid } = await lstat(fresh)
  for (const name of await readdir(parent)) {
    const pid = NAME.exec(name)?.[1]
    if (pid === undefined || alive(Number(pid))) continue
    const directory = join(parent, name)
    const found = await lstat(directory)
    if (found.uid === uid && now - found.mtimeMs > ABANDONED)
      await rm(directory, { recursive: true, force: true })
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return codeOf(cause) !== 'ESRCH'
  }
}

function unwritable(cause: unknown): PlexusError {
  if (cause instanceof PlexusError) return cause
  const why = cause === undefined ? '' : ` (${codeWord(cause)})`
  const sentence = `The key file of the command cannot be written anywhere${why}.`
  return new PlexusError('STATE_DIRECTORY', sentence, {
    advice: 'Set XDG_RUNTIME_DIR or TMPDIR to a directory that this user may write.',
    cause,
  })
}
