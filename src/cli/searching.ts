import { join } from 'node:path'
import type { Logger } from '../net/index.js'
import { PathMemory, Searching } from '../pairing/index.js'
import { systemClock } from './clock.js'

/** What searches share in this process, unless --no-search forbids them. @param state the folder of the identity */
export async function searchingFor(
  { search }: { search: boolean },
  state: string,
  log: Logger,
): Promise<Searching | undefined> {
  if (!search) return undefined
  return new Searching(systemClock, await PathMemory.open(join(state, 'paths'), log))
}
