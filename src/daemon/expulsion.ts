import { asPlexusError } from '../errors/index.js'
import type { Running } from '../exec/index.js'
import { formatIdentity, Standing } from '../identity/index.js'
import { sleep } from '../net/index.js'
import { type PairingContext, shortSession } from '../pairing/index.js'
import type { AnyPassage } from './handover.js'
import type { DaemonSettings } from './settings.js'

/** How often it is looked whether those whose commands and tunnels run may still pair, in ms: twice within 5 s. */
const LOOK = 2000

type Context = Pick<PairingContext, 'clock' | 'log' | 'repository' | 'host'>

interface Watched {
  readonly passage: AnyPassage
  readonly standing: Standing
  readonly running: Running
  state: 'running' | 'looking' | 'ending'
}

/** Ends what runs for peers that were shut out: see `Standing` for who that is. */
export class Expulsion {
  readonly #context: Context
  /** What runs on a passage, for the log. */
  readonly #what: 'command' | 'tunnel'
  readonly #watched = new Set<Watched>()

  constructor({ context, carrier }: Pick<DaemonSettings, 'carrier'> & { readonly context: Context }) {
    this.#context = context
    this.#what = carrier ? 'tunnel' : 'command'
  }

  /**
   * A passage that is about to be handed over: the peer may have been shut out since it signed.
   * @returns what `watch` wants
   * @throws PlexusError why it may not pair any more
   */
  async admit(passage: AnyPassage): Promise<Standing> {
    const { clock, repository } = this.#context
    const { host, peer, fingerprint } = passage
    const standing = new Standing(repository, { host, peer, fingerprint })
    const objection = await standing.objection(clock.date())
    if (objection) throw objection
    return standing
  }

  /** Ends `running` when the peer of its passage is shut out, for as long as it runs. */
  watch(passage: AnyPassage, standing: Standing, running: Running): void {
    const watched: Watched = { passage, standing, running, state: 'running' }
    this.#watched.add(watched)
    void running.exited.finally(() => this.#watched.delete(watched))
  }

  /** Looks until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#context
    while (!signal.aborted) {
      await sleep(clock, LOOK, signal).catch(() => {})
      if (signal.aborted) return
      // one that a file system keeps waiting holds up no other
      for (const each of this.#watched) void this.#look(each, signal)
    }
  }

  async #look(watched: Watched, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#context
    const { passage, standing, running } = watched
    if (watched.state !== 'running') return
    watched.state = 'looking'
    const objection = await standing.objection(clock.date())
    if (!objection || signal.aborted) {
      watched.state = 'running'
      return
    }
    watched.state = 'ending'
    const fields = { peer: formatIdentity(passage.peer), session: shortSession(passage.session) }
    const why = objection.message.replace(/\.$/, '')
    log.warn({ ...fields, code: objection.code }, `${why}; closing its ${this.#what}`)
    await running.stop().catch((thrown: unknown) => {
      watched.state = 'running'
      log.error(fields, asPlexusError(thrown).message)
    })
  }
}
