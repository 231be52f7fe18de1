import { asPlexusError, type PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName, isUnclear, type Repository } from '../identity/index.js'
import { type Clock, type Logger, sleep } from '../net/index.js'
import type { Forwarding } from '../wormhole/index.js'
import { type Forwards, type PeerLookup, resolveForwards } from './forwards.js'
import { resolveNamed } from './named.js'
import type { ForwardingSettings } from './settings.js'

/** How often it is looked whose services may be forwarded, in ms. */
const LOOK = 2000

/** How long what was read of a certificate counts while its files are the same, in ms: it may expire meanwhile. */
const FRESH = 60_000

/**
 * Keeps what is forwarded in step with the repository: the services of a peer that is added appear, and those of one that is
 * removed or revoked refuse, while all the others go on.
 *
 * Its calls, in this order: `plan`, then `run` with the forwarding that was opened by it.
 */
export class ServiceKeeper {
  readonly #settings: ForwardingSettings
  readonly #repository: Repository
  readonly #host: IdentityName
  readonly #peer: IdentityName | undefined
  readonly #clock: Clock
  readonly #log: Logger
  readonly #trusted = new Map<string, { readonly stamp: string; readonly until: number }>()
  readonly #doubted = new Set<string>()
  /** What was told to be off, and why. */
  readonly #told = new Map<string, string>()

  /** @param options.peer the only one that pairs, if there is one */
  constructor(
    settings: ForwardingSettings,
    options: {
      readonly repository: Repository
      readonly host: IdentityName
      readonly peer: IdentityName | undefined
      readonly clock: Clock
      readonly log: Logger
    },
  ) {
    this.#settings = settings
    this.#repository = options.repository
    this.#host = options.host
    this.#peer = options.peer
    this.#clock = options.clock
    this.#log = options.log
  }

  /** What can be forwarded now; what cannot is told. @throws PlexusError BAD_FLAG, and what is wrong with an only peer */
  async plan(): Promise<Forwards> {
    const plan = await resolveForwards(this.#settings, this.#lookUp, this.#peer)
    this.#tell(plan.absent)
    return plan
  }

  /** Looks until the returned function is called. */
  run(forwarding: Forwarding): () => void {
    const over = new AbortController()
    void this.#run(forwarding, over.signal)
    return () => over.abort()
  }

  async #run(forwarding: Forwarding, signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(this.#clock, LOOK, signal).catch(() => {})
      if (signal.aborted) return
      try {
        // while its own directory is away it is the repository that cannot be reached
        if (!(await this.#repository.has(this.#host))) continue
        const plan = await this.#planNow()
        if (signal.aborted) return
        const absent = new Map(plan.absent)
        for (const { one, error } of await forwarding.change(plan))
          absent.set(`import '${one.name}' of ${one.peer}`, error)
        this.#tell(absent)
      } catch (thrown) {
        this.#log.debug({ err: thrown }, 'the services could not be compared with the repository')
      }
    }
  }

  async #planNow(): Promise<Forwards> {
    if (this.#peer !== undefined) {
      const peer = formatIdentity(this.#peer)
      try {
        await this.#lookUp(peer, '--peer-info')
      } catch (thrown) {
        const absent = new Map([[`forwarding with ${peer}`, asPlexusError(thrown)]])
        return { exports: [], imports: [], wait: this.#settings.wait, absent }
      }
    }
    return await resolveForwards(this.#settings, this.#lookUp, this.#peer)
  }

  readonly #lookUp: PeerLookup = async (text, from) => {
    const name = await resolveNamed(this.#repository, { text, from })
    const full = formatIdentity(name)
    const stamp = await this.#repository.peerStamp(name, this.#host)
    const known = this.#trusted.get(full)
    const now = this.#clock.now()
    if (known?.stamp === stamp && now < known.until) return full
    try {
      await this.#repository.certificate(name, { host: this.#host, date: this.#clock.date() })
    } catch (thrown) {
      const { code } = asPlexusError(thrown)
      // the answer before counts, once
      if (known && isUnclear(code) && !this.#doubted.has(full)) {
        this.#doubted.add(full)
        return full
      }
      this.#trusted.delete(full)
      throw thrown
    }
    this.#doubted.delete(full)
    this.#trusted.set(full, { stamp, until: now + FRESH })
    return full
  }

  /** Each once, until it changes. */
  #tell(absent: ReadonlyMap<string, PlexusError>): void {
    for (const what of this.#told.keys()) {
      if (absent.has(what)) continue
      this.#told.delete(what)
      this.#log.info({}, `${what} is available again`)
    }
    for (const [what, { code, message }] of absent) {
      if (this.#told.get(what) === message) continue
      this.#told.set(what, message)
      this.#log.warn({ code }, `${what} is off: ${message} Retrying.`)
    }
  }
}
