import { join } from 'node:path'
import { PathMemory, Searching } from '../pairing/index.js'
import type { Outside } from './outside.js'
import type { NetworkSettings } from './settings.js'

/** What searches share in this process, unless they are forbidden. @param directory that of the identity and application */
export async function searchingFor(
  { search }: Pick<NetworkSettings, 'search'>,
  directory: string,
  { clock, log }: Outside,
): Promise<Searching | undefined> {
  if (!search) return undefined
  return new Searching(clock, await PathMemory.open(join(directory, 'paths'), log))
}
