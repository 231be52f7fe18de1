import { join } from 'node:path'
import { asPlexusError } from '../errors/index.js'
import { Repository } from '../identity/index.js'
import { silent } from '../net/index.js'
import { lastWords, type PairingContext, PathMemory, Searching } from '../pairing/index.js'
import type { PortMapper } from '../portmap/index.js'
import { systemClock, systemRandom } from '../system/index.js'
import { badOption, checkOptions, type PairingOptions, type Surroundings } from './options.js'
import { isRendezvous, openRendezvous } from './rendezvous.js'
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
  const { clock = systemClock, random = systemRandom, log = silent } = options
  const { host: name, ...plain } = checkOptions(options)
  const repository = await openRepository(options.repository)
  const host = await repository.host(name)
  const state = await openState(options.stateDirectory, plain.app, name)
  const { rendezvous: given, rendezvousOptions = {} } = options
  try {
    const rendezvous = isRendezvous(given)
      ? given
      : await openRendezvous(given, {
          clock,
          random,
          log,
          stateDirectory: state.path,
          options: rendezvousOptions,
        })
    const portMapper = plain.kinds.has('mapped') ? await mapperOf({ clock, random, log }) : undefined
    const memory = await PathMemory.open(join(state.path, 'paths'), log)
    const helpers = {
      ...(portMapper ? { portMapper } : {}),
      ...(options.search === false ? {} : { search: new Searching(clock, memory) }),
    }
    const context = { clock, random, log, repository, host, rendezvous, ...plain, ...helpers }
    const ours = rendezvous === given ? [state] : [rendezvous, state]
    const close = async () => {
      if (rendezvous !== given) await lastWords(rendezvous)
      // a passage keeps its own for as long as it is open
      await portMapper?.settled()
      await memory.settled()
      for (const each of ours) {
        await each.close().catch((thrown: unknown) => {
          const { code, message } = asPlexusError(thrown)
          log.warn({ code }, `not everything could be closed: ${message}`)
        })
      }
    }
    return { context, stateDirectory: state.path, close }
  } catch (thrown) {
    await state.close().catch(() => {}) // what is thrown says more
    throw thrown
  }
}

/** Loaded when it is wanted: it is of no use to most programs. */
async function mapperOf(surroundings: Required<Surroundings>): Promise<PortMapper> {
  const { PortMapper } = await import('../portmap/index.js')
  return new PortMapper(surroundings)
}

async function openRepository(repository: unknown): Promise<Repository> {
  if (repository instanceof Repository) return repository
  if (typeof repository !== 'string') throw badOption('repository', repository, 'a path or a Repository')
  return Repository.open(repository)
}
