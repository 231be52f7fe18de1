import { randomBytes } from 'node:crypto'
import { type FileHandle, link, open, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf } from '../errors/index.js'

/** For the names of drafts. */
type RandomBytes = (length: number) => Buffer

/** What fsync(2) answers where there is nothing to be synchronised. */
const NO_SYNC: ReadonlySet<unknown> = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])

/**
 * Writes a new file whole or not at all: under a name of its own first, then linked to the right one, which unlike a
 * rename replaces nothing. Where a file system has no hard links (FAT, some network ones) the name is taken by an empty
 * file, which is replaced.
 * @returns false when there is something at the path already
 * @throws what the file system throws
 */
export async function writeNewFile(
  path: string,
  text: string,
  mode: number,
  random: RandomBytes = randomBytes,
): Promise<boolean> {
  const draft = await writeDraft(path, text, mode, random)
  try {
    return await entered(draft, path)
  } finally {
    await unlink(draft).catch(() => {}) // renamed
  }
}

/** The same in the place of what is there, if anything is. */
export async function replaceFile(
  path: string,
  text: string,
  mode: number,
  random: RandomBytes = randomBytes,
): Promise<void> {
  const draft = await writeDraft(path, text, mode, random)
  try {
    await rename(draft, path)
  } catch (thrown) {
    await unlink(draft).catch(() => {})
    throw thrown
  }
}

async function entered(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (thrown) {
    if (codeOf(thrown) === 'EEXIST') return false
  }
  try {
    await (await open(path, 'wx')).close()
  } catch (thrown) {
    if (codeOf(thrown) === 'EEXIST') return false
    throw thrown
  }
  await rename(draft, path).catch(async (thrown: unknown) => {
    await unlink(path)
    throw thrown
  })
  return true
}

async function writeDraft(path: string, text: string, mode: number, random: RandomBytes): Promise<string> {
  // nobody can guess the name, so nothing is there but what this made
  const draft = join(dirname(path), `.${random(8).toString('hex')}`)
  const handle = await open(draft, 'wx', mode)
  try {
    await fill(handle, text, mode)
  } catch (thrown) {
    await unlink(draft).catch(() => {})
    throw thrown
  } finally {
    await handle.close()
  }
  return draft
}

async function fill(handle: FileHandle, text: string, mode: number): Promise<void> {
  // whatever the umask says; a file system without modes keeps its own
  await handle.chmod(mode).catch(() => {})
  const secret = (mode & 0o077) === 0
  if (secret && ((await handle.stat()).mode & 0o077) !== 0) throw new OpenFileSystem()
  await handle.writeFile(text)
  await handle.sync().catch((thrown: unknown) => {
    if (!NO_SYNC.has(codeOf(thrown))) throw thrown
  })
}

/** Of a file system that has no modes, so that a secret on it would be everybody's: FAT without `umask=077`, some shares. */
export class OpenFileSystem extends Error {
  override readonly name = 'OpenFileSystem'
  readonly code = 'EPERM'
  constructor() {
    super('the file system has no permissions')
  }
}
