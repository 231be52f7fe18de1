import { PlexusError } from '../errors/index.js'
import type { Logger } from '../net/index.js'
import type { Child } from './supervision.js'
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
export type Launch = (signal: AbortSignal) => Promise<Child>

/** A command from the time somebody wants it to run until it is gone. */
interface Run {
  end(reason: PlexusError): Promise<void>
}

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

  /** Whether a pairing with this peer may begin: ask before the punch, and tell the peer if not. */
  mayPair(peer: Identity): boolean {
    if (this.#closed) return false
    return this.#policy !== 'refuse' || this.#runsOf(peer).size === 0
  }

  /**
   * Starts a command for a peer whose hole is proven. Resolves when it runs.
   * @throws PlexusError BUSY if one runs and the policy is `refuse`; CANCELLED if a newer pairing of the peer came
   * before this one could start, or the roster was closed; whatever `launch` throws
   */
  async run(peer: Identity, launch: Launch): Promise<Child> {
    if (this.#closed) throw cancelled('The program is ending.')
    const runs = this.#runsOf(peer)
    const earlier = [...runs]
    if (this.#policy === 'refuse' && earlier.length > 0) {
      throw new PlexusError('BUSY', `A command for ${peer.owner}/${peer.pin} runs already.`)
    }
    const key = identityKey(peer)
    this.#runs.set(key, runs)
    const controller = new AbortController()
    let child: Child | undefined
    let leave = () => {}
    const gone = new Promise<void>((resolve) => {
      leave = resolve
    })
    const run: Run = {
      async end(reason) {
        controller.abort(reason)
        await child?.stop()
        await gone
      },
    }
    runs.add(run)
    const left = () => {
      runs.delete(run)
      if (runs.size === 0 && this.#runs.get(key) === runs) this.#runs.delete(key)
      leave()
    }
    try {
      if (this.#policy === 'replace' && earlier.length > 0) {
        this.#log.info({ peer: key }, 'The peer has paired again: its earlier command ends.')
        const reason = cancelled('A newer pairing of the same peer took its place.')
        await Promise.all(earlier.map((other) => other.end(reason)))
      }
      controller.signal.throwIfAborted()
      child = await launch(controller.signal)
      if (controller.signal.aborted) {
        await child.stop()
        throw controller.signal.reason
      }
    } catch (thrown) {
      left()
      throw thrown
    }
    void child.exited.then(left)
    return child
  }

  /** Ends every command and lets no other start. Resolves when all are gone. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      const reason = cancelled('The program is ending.')
      const all = [...this.#runs.values()].flatMap((runs) => [...runs])
      await Promise.all(all.map((run) => run.end(reason)))
    })()
    return this.#closed
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
