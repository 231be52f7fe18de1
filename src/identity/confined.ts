import { constants } from 'node:fs'
import { lstat, mkdir, open, realpath } from 'node:fs/promises'
import { sep } from 'node:path'
import { PlexusError } from '../errors/index.js'

/** A key, a certificate or a bundle of a few dozen is smaller; nothing larger is read into memory. */
const MAX_FILE = 64 * 1024

/** What came of reading a file of the repository. */
export type FileRead =
  | { readonly state: 'read'; readonly text: string; readonly mode: number; readonly uid: number }
  | { readonly state: 'absent' }
  /** `why` completes "<path> …". */
  | { readonly state: 'refused'; readonly why: string; readonly cause?: unknown }

const isCode = (thrown: unknown, ...codes: string[]): boolean =>
  thrown instanceof Error && codes.includes(String((thrown as { code?: unknown }).code))

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
 */
export async function readConfined(root: string, path: string): Promise<FileRead> {
  let real: string
  try {
    real = await realpath(path)
  } catch (cause) {
    if (isCode(cause, 'ENOENT', 'ENOTDIR') && !(await entryExists(path))) return { state: 'absent' }
    return { state: 'refused', why: 'cannot be followed', cause }
  }
  if (!isInside(root, real)) return { state: 'refused', why: 'leads out of the repository' }
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
      return { state: 'read', text, mode: status.mode & 0o7777, uid: status.uid }
    } finally {
      await handle.close()
    }
  } catch (cause) {
    return { state: 'refused', why: 'cannot be read', cause }
  }
}

/** Whether there is a directory entry, be it a link that leads nowhere. What cannot be told counts as there. */
export async function entryExists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (thrown) {
    return !isCode(thrown, 'ENOENT', 'ENOTDIR')
  }
}

/**
 * Makes the directory of an identity, and the repository if there is none, all 0700.
 * @throws PlexusError REPOSITORY when it leads out of the repository; what the file system throws
 */
export async function makeDirectory(repository: string, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  if (isInside(await realpath(repository), await realpath(directory))) return
  throw new PlexusError('REPOSITORY', `${directory} leads out of the repository.`, {
    advice: 'Replace the symbolic link with a directory.',
  })
}
