import { openRendezvous, type Rendezvous } from '../../rendezvous/index.js'
import type { Outside } from './outside.js'
import type { MeetingSettings } from './settings.js'

export interface MeetingOptions {
  /** What relative modules are relative to. */
  readonly cwd?: string
  /** Is given each rendezvous once it is open, and gives what is used in its place. */
  readonly each?: (rendezvous: Rendezvous) => Rendezvous
}

/**
 * Opens where the sides meet. Whoever asks for it closes it.
 * @param directory for persistent state
 * @throws PlexusError BAD_RENDEZVOUS, and what the rendezvous itself throws
 */
export async function openMeeting(
  { urls, options }: MeetingSettings,
  directory: string,
  outside: Omit<Outside, 'governor' | 'budget'>,
  more: MeetingOptions = {},
): Promise<Rendezvous> {
  const { clock, random, log, environment } = outside
  const context = { clock, random, log, stateDirectory: directory, options }
  return await openRendezvous(urls, environment === undefined ? context : { ...context, environment }, more)
}
