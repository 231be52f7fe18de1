import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a directory and those above it that are missing. Node's own `recursive` never comes back where a file system says ENOENT
 * of what cannot be made in a directory that is there, as automounters and /proc do.
 * @returns the first that was made; nothing if all were there
 * @throws what the file system throws
 */
export async function makeDirectories(path: string, mode: number): Promise<string | undefined> {
  const above = dirname(path)
  if (await made(path, mode, above !== path)) return path
  if (await isDirectory(path)) return undefined
  const first = await makeDirectories(above, mode)
  await made(path, mode, false)
  return first ?? path
}

/** @returns false if it is there already, or, where the one above may be missing, if that is what is wrong */
async function made(path: string, mode: number, orphan: boolean): Promise<boolean> {
  try {
    await mkdir(path, { mode })
    return true
  } catch (thrown) {
    const { code } = thrown as { code?: unknown }
    if ((orphan && code === 'ENOENT') || (await isDirectory(path))) return false
    throw thrown
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  )
}
