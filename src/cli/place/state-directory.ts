import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PlexusError } from '../../errors/index.js'
import { defaultStateDirectory } from '../flags/defaults.js'
import type { Values } from '../flags/values.js'
import { refuseShared } from './writable.js'

/** Each identity and application has a folder of its own in the state directory. @throws PlexusError STATE_DIRECTORY */
export async function stateDirectory(values: Values, owner: string): Promise<string> {
  const directory = stateDirectoryOf(values, owner)
  const base = dirname(directory)
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new PlexusError('STATE_DIRECTORY', `The state directory '${base}' cannot be made.`, { cause })
  }
  refuseShared(base, { shared: true })
  refuseShared(directory, { shared: false })
  return directory
}

/** The path of that folder. */
export function stateDirectoryOf(values: Values, owner: string): string {
  const base = values.path('state-dir') ?? defaultStateDirectory()
  return join(base, createHash('sha256').update(owner).digest('hex').slice(0, 16))
}
