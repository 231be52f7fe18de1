import { constants } from 'node:fs'
import { lstat, open, realpath } from 'node:fs/promises'
import { sep } from 'node:path'
import { codeOf, codeWord, type ErrorCode, PlexusError } from '../errors/index.js'
import { makeDirectories, type Ownership, unsafeError, unsafePathSoon } from '../files/index.js'

/** A key, a certificate or a bundle of a few dozen is smaller; nothing larger is read into memory. */
const MAX_FILE = 64 * 1024

/** What came of reading a file of the repository. */
export type FileRead =
  | { readonly state: 'read'; readonly text: string; readonly owner: Ownership }
  | { readonly state: 'absent' }
  | Refused

export interface Refused {
  readonly state: 'refused'
  /** Completes "<path> …". */
  readonly why: string
  readonly cause?: unknown
  /** Others decide what is there: this is what there is to say, whatever the file was wanted for. */
  readonly unsafe?: PlexusError
}

/** Why a file of the repository is of no use. @param what how a sentence calls it, with its path */
export function refusal(what: string, { why, cause, unsafe }: Refused, code: ErrorCode, advice: string) {
  return unsafe ?? new PlexusError(code, `${what} ${why}.`, { advice, cause })
}

export const isCode = (thrown: unknown, ...codes: string[]): boolean =>
  thrown instanceof Error && codes.includes(String(codeOf(thrown)))

/** What the file system says of a path at which there is nothing. */
export const ABSENT: readonly string[] = ['ENOENT', 'ENOTDIR']

/** The code of what the file system threw, through what was made of it. */
function innerCode(thrown: unknown): string {
  return thrown instanceof PlexusError ? innerCode(thrown.cause) : codeWord(thrown)
}

/** True when `path` is `root` or below it; both without symbolic links. */
export function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep)
}

/**
 * Reads a small regular file below `root`, wherever symbolic links lead inside it. What leads out of it, is no
 * regular file or is too large is refused. Only where there is no directory entry at all is the file absent: a link
 * that leads nowhere is refused, because an absent file can mean something.
 *
 * @param root without symbolic links
 * @param options.secret the owner and the mode of the file itself are for the caller to judge, as those of a secret
 */
export async function readConfined(
  root: string,
  path: string,
  options: { secret?: boolean } = {},
): Promise<FileRead> {
  let real: string
  try {
    real = await realpath(path)
  } catch (cause) {
    const why = `cannot be followed (${innerCode(cause)})`
    if (!isCode(cause, ...ABSENT)) return { state: 'refused', why, cause }
    try {
      return (await entryExists(path)) ? { state: 'refused', why, cause } : { state: 'absent' }
    } catch (unclear) {
      return { state: 'refused', why: `cannot be looked at (${innerCode(unclear)})`, cause: unclear }
    }
  }
  if (!isInside(root, real)) return { state: 'refused', why: 'points outside the repository' }
  // with the links on the way: whoever can turn one round decides as well
  const unsafe = await unsafePathSoon(path)
  if (unsafe && !(options.secret && unsafe.itself)) {
    const why = 'can be replaced by others'
    return { state: 'refused', why, unsafe: unsafeError(unsafe, `The file ${path}`, 'REPOSITORY_WRITABLE') }
  }
  try {
    // without O_NONBLOCK a named pipe would hold this up for ever
    const handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const status = await handle.stat()
      if (!status.isFile()) return { state: 'refused', why: 'is not a regular file' }
      const buffer = Buffer.alloc(MAX_FILE + 1)
      let length = 0
      while (length < buffer.length) {
        const { bytesRead } = await handle.read(buffer, length, buffer.length - length)
        if (bytesRead === 0) break
        length += bytesRead
      }
      if (length > MAX_FILE) return { state: 'refused', why: `is larger than ${MAX_FILE / 1024} KiB` }
      const text = buffer.toString('utf8', 0, length)
      return { state: 'read', text, owner: { uid: status.uid, gid: status.gid, mode: status.mode & 0o7777 } }
    } finally {
      await handle.close()
    }
  } catch (cause) {
    return { state: 'refused', why: `cannot be read (${innerCode(cause)})`, cause }
  }
}

/**
 * Whether there is a directory entry, be it a link that leads nowhere.
 * @throws PlexusError REPOSITORY where the file system does not tell: then it is neither there nor absent
 */
export async function entryExists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (thrown) {
    if (isCode(thrown, ...ABSENT)) return false
    throw unclear(path, thrown)
  }
}

/** The file system did not say what is at a path. */
export function unclear(path: string, cause: unknown): PlexusError {
  return new PlexusError('REPOSITORY', `${path} cannot be looked at (${innerCode(cause)}).`, {
    advice: 'Run plexus as the user that the repository belongs to, and check its file system.',
    cause,
  })
}

/**
 * Makes the directory of an identity, and the repository if there is none, all 0700.
 * @throws PlexusError REPOSITORY when it points outside the repository; what the file system throws
 */
export async function makeDirectory(repository: string, directory: string): Promise<void> {
  await makeDirectories(directory, 0o700)
  if (isInside(await realpath(repository), await realpath(directory))) return
  throw new PlexusError('REPOSITORY', `${directory} points outside the repository.`, {
    advice: 'Replace the symbolic link with a directory.',
  })
}
