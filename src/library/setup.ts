import { assemble, type MeetingSettings, stateOwner } from '../assembly/index.js'
import { Budget } from '../budget/index.js'
import { asPlexusError } from '../errors/index.js'
import { Repository } from '../identity/index.js'
import type { PairingContext } from '../pairing/index.js'
import { systemBudget, systemClock, systemGovernor, systemRandom } from '../system/index.js'
import { loggerOf } from './log.js'
import { badOption, checkOptions, type PairingOptions } from './options.js'
import { isRendezvous, urlsOf } from './rendezvous.js'
import { openState } from './state.js'

/** What a pairing works with, opened from the options of a program. */
export interface Setup {
  readonly context: PairingContext
  /** A directory of this identity's and application's own. */
  readonly stateDirectory: string
  /** Lets go of what was opened here, and of nothing that was passed in. Never rejects. */
  close(): Promise<void>
}

/**
 * Opens what the options name: repository, host, state directory, rendezvous; all of it, or nothing is left open.
 * @throws PlexusError BAD_OPTION, IDENTITY_NAME, REPOSITORY, IDENTITY_MISSING, KEY_…, STATE_DIRECTORY, BAD_RENDEZVOUS
 */
export async function setUp(options: PairingOptions): Promise<Setup> {
  const { clock = systemClock, random = systemRandom, budget = systemBudget } = options
  if (!(budget instanceof Budget)) throw badOption('budget', budget, 'a Budget')
  const log = loggerOf(options.log)
  const { host: name, ...plain } = checkOptions(options)
  const repository = await openRepository(options.repository)
  const host = await repository.host(name)
  const state = await openState(options.stateDirectory, stateOwner(plain.app, name))
  const { rendezvous: given, rendezvousOptions = {} } = options
  try {
    const own = isRendezvous(given)
    const meeting: MeetingSettings = { urls: own ? [] : urlsOf(given), options: rendezvousOptions }
    const session = await assemble(
      { ...plain, meeting },
      { repository, host, directory: state.path },
      { clock, random, log, governor: systemGovernor, budget },
      // a passage keeps its port mapping for as long as it is open
      { ...(own ? { rendezvous: given } : {}), passagesOutlive: true },
    )
    const close = async () => {
      await session.close()
      await state.close().catch((thrown: unknown) => {
        const { code, message } = asPlexusError(thrown)
        log.warn({ code }, `not everything could be closed: ${message}`)
      })
    }
    return { context: session.context, stateDirectory: state.path, close }
  } catch (thrown) {
    await state.close().catch(() => {}) // what is thrown says more
    throw thrown
  }
}

async function openRepository(repository: unknown): Promise<Repository> {
  if (repository instanceof Repository) return repository
  if (typeof repository !== 'string') throw badOption('repository', repository, 'a path or a Repository')
  return Repository.open(repository)
}
