import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf } from '../errors/index.js'

/**
 * Makes a directory and those above it that are missing. Node's own `recursive` never comes back where a file system says ENOENT
 * of what cannot be made in a directory that is there, as automounters and /proc do.
 * @returns the first that was made; nothing if all were there
 * @throws what the file system throws
 */
export async function makeDirectories(path: string, mode: number): Promise<string | undefined> {
  const above = dirname(path)
  const outcome = await make(path, mode)
  if (outcome.is === 'made') return path
  if (outcome.is === 'there') return undefined
  if (above === path) throw outcome.thrown
  const first = await makeDirectories(above, mode)
  const second = await make(path, mode)
  if (second.is === 'orphan') throw second.thrown
  return first ?? (second.is === 'made' ? path : undefined)
}

/** `orphan`: the one above may be missing. */
type Outcome =
  | { readonly is: 'made' }
  | { readonly is: 'there' }
  | { readonly is: 'orphan'; readonly thrown: unknown }

async function make(path: string, mode: number): Promise<Outcome> {
  try {
    await mkdir(path, { mode })
    return { is: 'made' }
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return { is: 'orphan', thrown }
    // a file system that takes nothing new may say so before it says that it is there
    const stats = await stat(path).catch((cause: unknown) => {
      throw codeOf(cause) === 'ENOENT' ? thrown : cause
    })
    if (!stats.isDirectory()) throw thrown
    return { is: 'there' }
  }
}
