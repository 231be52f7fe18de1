import { PlexusError } from '../errors/index.js'
import type { Logger } from '../net/index.js'
import type { Running } from './supervision.js'
import type { Identity } from './wildcards.js'

/**
 * What to do with a peer that pairs again while its command runs (`--on-repeat`):
 * - `replace`: end the command, and start the new one when the old one is gone; of several that wait, the newest starts
 * - `parallel`: start another one beside it
 * - `refuse`: do not pair
 *
 * Detached commands are not known to run.
 */
export type RepeatPolicy = 'replace' | 'parallel' | 'refuse'

export const REPEAT_POLICIES: readonly RepeatPolicy[] = ['replace', 'parallel', 'refuse']

/** Starts a command, and gives up when `signal` is aborted before. */
export type Launch<R extends Running = Running> = (signal: AbortSignal) => Promise<R>

/** A command from the time somebody wants it to run until it is gone. */
class Run<R extends Running = Running> {
  readonly #controller = new AbortController()
  readonly started: Promise<R>
  /** Resolves when the command has ended, or is not going to start. */
  readonly gone: Promise<void>

  constructor(launch: Launch<R>) {
    const { signal } = this.#controller
    this.started = launch(signal).then(async (child) => {
      if (!signal.aborted) return child
      await child.stop()
      throw signal.reason
    })
    this.gone = this.started.then(
      async (child) => void (await child.exited),
      () => {},
    )
  }

  async end(reason: PlexusError): Promise<void> {
    this.#controller.abort(reason)
    await this.started.then(
      (child) => child.stop(),
      () => {},
    )
    await this.gone
  }
}

/** What one identity may have running at once under `parallel`: more than it needs, and less than starves the others. */
const MOST_OF_A_PEER = 64

/** The commands that run, by the identity of the peer. */
export class Roster {
  readonly #policy: RepeatPolicy
  readonly #log: Logger
  readonly #runs = new Map<string, Set<Run>>()
  #closed: Promise<void> | undefined

  constructor(policy: RepeatPolicy, options: { log: Logger }) {
    this.#policy = policy
    this.#log = options.log
  }

  /** How many commands run or are about to. */
  get size(): number {
    return [...this.#runs.values()].reduce((sum, runs) => sum + runs.size, 0)
  }

  /** How many commands of a peer run or are about to. */
  runsOf(peer: Identity): number {
    return this.#runsOf(peer).size
  }

  /** Whether a pairing with this peer may begin: ask before the punch, and tell the peer if not. */
  mayPair(peer: Identity): boolean {
    if (this.#closed) return false
    return this.#runsOf(peer).size < (this.#policy === 'refuse' ? 1 : MOST_OF_A_PEER)
  }

  /**
   * Starts a command for a peer whose hole is proven. Resolves when it runs.
   * @throws PlexusError BUSY if one runs and the policy is `refuse`, or too many run; CANCELLED if a newer pairing of the peer came
   * before this one could start, or the roster was closed; whatever `launch` throws
   * @param log names the session that the command is for
   */
  async run<R extends Running>(peer: Identity, launch: Launch<R>, log = this.#log): Promise<R> {
    if (this.#closed) throw cancelled('The program is ending.')
    const runs = this.#runsOf(peer)
    const earlier = [...runs]
    if (this.#policy === 'refuse' && earlier.length > 0) {
      throw new PlexusError('BUSY', `A command for ${identityKey(peer)} is already running.`)
    }
    // several may have been admitted before any of them was here
    if (this.#policy === 'parallel' && earlier.length >= MOST_OF_A_PEER) {
      throw new PlexusError(
        'BUSY',
        `${earlier.length} commands or tunnels of ${identityKey(peer)} are already running.`,
      )
    }
    const run = new Run(async (signal) => {
      if (this.#policy === 'replace' && earlier.length > 0) await this.#replace(peer, earlier, log)
      signal.throwIfAborted()
      return await launch(signal)
    })
    runs.add(run)
    this.#runs.set(identityKey(peer), runs)
    const left = () => this.#leave(peer, run)
    void run.gone.then(left)
    try {
      return await run.started
    } catch (thrown) {
      left()
      throw thrown
    }
  }

  async #replace(peer: Identity, earlier: readonly Run[], log: Logger): Promise<void> {
    log.info({ peer: identityKey(peer) }, 'the peer connected again: ending its earlier command or tunnel')
    const reason = cancelled('Replaced by a newer pairing of the same peer.')
    await Promise.all(earlier.map((run) => run.end(reason)))
  }

  /** Ends the commands of a peer, as `run` does before it replaces them. Resolves when they are gone. */
  async end(peer: Identity): Promise<void> {
    const reason = cancelled('The peer pairs again.')
    await Promise.all([...this.#runsOf(peer)].map((run) => run.end(reason)))
  }

  /**
   * Ends every command and lets no other start. Resolves when all are gone.
   * @param reason an Ending sends its signal to the commands
   */
  close(reason: PlexusError = cancelled('The program is ending.')): Promise<void> {
    this.#closed ??= (async () => {
      const all = [...this.#runs.values()].flatMap((runs) => [...runs])
      await Promise.all(all.map((run) => run.end(reason)))
    })()
    return this.#closed
  }

  #leave(peer: Identity, run: Run): void {
    const runs = this.#runsOf(peer)
    runs.delete(run)
    if (runs.size === 0) this.#runs.delete(identityKey(peer))
  }

  #runsOf(peer: Identity): Set<Run> {
    return this.#runs.get(identityKey(peer)) ?? new Set()
  }
}

/** Neither part of an identity holds a slash. */
function identityKey({ owner, pin }: Identity): string {
  return `${owner}/${pin}`
}

function cancelled(sentence: string): PlexusError {
  return new PlexusError('CANCELLED', sentence)
}
