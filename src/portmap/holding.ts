import { asPlexusError } from '../errors/index.js'
import {
  type Clock,
  deadline,
  type Endpoint,
  formatEndpoint,
  type Logger,
  sameEndpoint,
  sleep,
} from '../net/index.js'
import { type Lease, type Mapper, PERMANENT } from './protocol.js'

/**
 * How long a mapping is asked for, in seconds: RFC 6886 recommends two hours, but one that was left behind by a program
 * that was killed should not stand open for long.
 */
export const LIFETIME = 600

/** A renewal that failed is tried again after an eighth of the lifetime, but no sooner than this, in ms. */
const RETRY_MIN = 10_000

/** A mapping that was lost is asked for anew so often, in ms. */
const ANEW = 60_000

/** How long it may take to give a mapping back, in ms: someone waits for the program to end. */
const RELEASING = 1000

/** The same for what the router may hold by another protocol, which it may not speak at all. */
const RELEASING_OTHERS = 300

/** Who has granted a mapping, and what. */
export interface Granted {
  readonly mapper: Mapper
  readonly lease: Lease
}

/**
 * Asks the routers, and tells of every protocol before it is asked.
 * @throws PlexusError if none grants it, or the signal's reason
 */
export type Acquire = (onasked: (mapper: Mapper) => void, signal: AbortSignal) => Promise<Granted>

/**
 * - `asking`: nobody has granted it yet, or not any more
 * - `held`: it stands, and is renewed
 * - `none`: no router of this network maps ports
 * - `over`: it was given back, or left to its lifetime
 */
type State = { is: 'asking' } | { is: 'held'; granted: Granted } | { is: 'none' } | { is: 'over' }

/** The mapping of one port, from the first request until it is given back. */
export class Holding {
  readonly port: number
  /** Resolves when a router has granted it, or none will. Never rejects. */
  readonly asked: Promise<void>
  /** How many want it. */
  holders = 1
  readonly #clock: Clock
  readonly #log: Logger
  readonly #acquire: Acquire
  readonly #noun: 'port mapping' | 'pinhole'
  readonly #over = new AbortController()
  /** By whom the router was asked, and may hold something for all that no answer was waited for. */
  readonly #asked = new Set<Mapper>()
  readonly #listeners = new Set<(external: Endpoint) => void>()
  /** Resolves with what was granted when nobody wanted it any more. */
  readonly #running: Promise<Granted | undefined>
  #state: State = { is: 'asking' }
  #releasing: Promise<void> | undefined

  constructor(
    port: number,
    acquire: Acquire,
    options: { readonly clock: Clock; readonly log: Logger; readonly noun: 'port mapping' | 'pinhole' },
  ) {
    const { clock, log, noun } = options
    this.#noun = noun
    this.port = port
    this.#clock = clock
    this.#log = log
    this.#acquire = acquire
    let asked = () => {}
    this.asked = new Promise((resolve) => {
      asked = resolve
    })
    this.#running = this.#run(asked).finally(asked)
  }

  /** Where the router takes packets for the port, as far as it is known now. */
  get external(): Endpoint | undefined {
    return this.#state.is === 'held' ? this.#state.granted.lease.external : undefined
  }

  /** Calls back for the external endpoint, at once if there is one, and for every other one, until the returned function is called. */
  onExternal(listener: (external: Endpoint) => void): () => void {
    this.#listeners.add(listener)
    if (this.external) listener(this.external)
    return () => this.#listeners.delete(listener)
  }

  /** Gives the mapping back, once. Resolves when the router has heard of it, or does not answer. Never rejects. */
  release(): Promise<void> {
    this.#releasing ??= this.#release()
    return this.#releasing
  }

  /** Renews it no more: it ends with its lifetime. */
  async abandon(): Promise<void> {
    const granted = this.#state.is === 'held' ? this.#state.granted : undefined
    this.#state = { is: 'over' }
    this.#over.abort()
    if (granted) {
      const { external, lifetime } = granted.lease
      this.#log.info({}, `${this.#noun} ${formatEndpoint(external)} stays open: ${ending(lifetime)}`)
    }
    this.#releasing ??= granted
      ? this.#running.then(() => {})
      : this.#running.then((late) => this.#giveBack(late))
    await this.#releasing
  }

  async #release(): Promise<void> {
    const granted = this.#state.is === 'held' ? this.#state.granted : undefined
    this.#state = { is: 'over' }
    this.#over.abort()
    const late = await this.#running
    await this.#giveBack(granted ?? late)
  }

  /** What another protocol was asked for goes too: it may have come late, or have replaced what was granted. */
  async #giveBack(granted: Granted | undefined): Promise<void> {
    const limit = deadline(this.#clock, RELEASING)
    const rest = [...this.#asked].filter((mapper) => mapper !== granted?.mapper)
    const others = Promise.all(rest.map((mapper) => this.#takeBack(mapper)))
    try {
      if (granted) await this.#unmap(granted, others, limit.signal)
    } finally {
      limit.dispose()
    }
    await others
  }

  async #unmap({ mapper, lease }: Granted, others: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const where = formatEndpoint(lease.external)
    try {
      await mapper.unmap(this.port, signal).catch(async () => {
        // a request by another protocol may have taken it over
        await others
        await mapper.unmap(this.port, signal)
      })
      this.#log.info({}, `${this.#noun} ${where} removed`)
    } catch (thrown) {
      const { code, message } = asPlexusError(thrown)
      this.#log.warn(
        { code },
        `${this.#noun} ${where} could not be removed: ${ending(lease.lifetime)}. ${message}`,
      )
    }
  }

  async #takeBack(mapper: Mapper): Promise<void> {
    const limit = deadline(this.#clock, RELEASING_OTHERS)
    try {
      await mapper.unmap(this.port, limit.signal)
    } catch (thrown) {
      this.#log.debug({}, asPlexusError(thrown).message)
    } finally {
      limit.dispose()
    }
  }

  async #run(asked: () => void): Promise<Granted | undefined> {
    const { signal } = this.#over
    for (let wait = 0; ; wait = ANEW) {
      try {
        if (wait > 0) await sleep(this.#clock, wait, signal)
        this.#asked.clear()
        const granted = await this.#acquire((mapper) => this.#asked.add(mapper), signal)
        if (signal.aborted) return granted
        this.#hold(granted)
        asked()
        await this.#renew(granted)
        this.#state = { is: 'asking' }
      } catch (thrown) {
        if (signal.aborted) return undefined
        this.#log.debug({}, asPlexusError(thrown).message)
        // what never stood is not worth asking for again and again
        if (wait === 0) {
          this.#state = { is: 'none' }
          return undefined
        }
      }
    }
  }

  /** Renews until the mapping has ended all the same. @throws the signal's reason */
  async #renew(first: Granted): Promise<void> {
    const { signal } = this.#over
    let granted = first
    let since = this.#clock.now()
    let wait = renewal(granted.lease)
    for (;;) {
      await sleep(this.#clock, wait, signal)
      const { mapper, lease } = granted
      try {
        const renewed = await mapper.map(this.port, lease.external.port, LIFETIME, signal)
        granted = { mapper, lease: renewed }
        since = this.#clock.now()
        wait = renewal(renewed)
        // it may have been given up while the router answered
        if (signal.aborted) return
        this.#hold(granted)
      } catch (thrown) {
        signal.throwIfAborted()
        const { code, message } = asPlexusError(thrown)
        const left = since + lease.lifetime * 1000 - this.#clock.now()
        this.#log.debug({ code }, `the ${this.#noun} could not be renewed: ${message}`)
        if (left <= 0) {
          this.#log.warn({ code }, `${this.#noun} ${formatEndpoint(lease.external)} is gone: ${message}`)
          return
        }
        wait = Math.min(Math.max(renewal(lease) / 4, RETRY_MIN), left)
      }
    }
  }

  #hold(granted: Granted): void {
    const before = this.external
    const { external, lifetime } = granted.lease
    this.#state = { is: 'held', granted }
    if (before && sameEndpoint(before, external)) return
    const where = formatEndpoint(external)
    const held = lifetime === PERMANENT ? 'until it is removed' : `renewed every ${lifetime / 2} s`
    this.#log.info({}, `${this.#noun} ${where} by ${granted.mapper.protocol}, ${held}`)
    for (const listener of this.#listeners) listener(external)
  }
}

/** When it is renewed, in ms: in the middle of its life. One for ever is looked at as often as any other. */
function renewal({ lifetime }: Lease): number {
  return (Math.min(lifetime, LIFETIME) * 1000) / 2
}

function ending(lifetime: number): string {
  return lifetime === PERMANENT
    ? 'this router has no leases, so it stays until plexus next maps a port or the router restarts'
    : `it expires within ${lifetime} s`
}
