import { PlexusError } from '../errors/index.js'
import { type Clock, deadline, type Endpoint, type Logger, type Random, sleep } from '../net/index.js'
import { defaultGateway, type Gateway } from './gateway.js'
import { type Granted, Holding, LIFETIME } from './holding.js'
import { NatPmp } from './nat-pmp.js'
import type { Mapper, MapperContext } from './protocol.js'

/**
 * How long NAT-PMP is given before UPnP is tried beside it, in ms: a router that speaks it answers in a few, and then the
 * slower protocol, with its search by multicast, is left alone.
 */
const HEAD_START = 60

/** How long all of it may take for a new mapping, in ms. What comes after the offer goes out as an update. */
const PATIENCE = 8000

/** A router that mapped nothing is asked again after so long, in ms: daemons pair often, and routers stay what they are. */
const DEAF_FOR = 600_000

/** The mapping of one port, for one that wants it. */
export interface PortMapping {
  /** Where the router takes packets for the port; undefined while, or where, it does not. */
  readonly external: Endpoint | undefined
  /** Resolves when the router has granted it, or is not going to. Never rejects. */
  readonly asked: Promise<void>
  /** Calls back for the external endpoint, at once if there is one, and for every other one, until the returned function is called. */
  onExternal(listener: (external: Endpoint) => void): () => void
  /** Lets go of it: when nobody else wants it, it is given back. Resolves, within a second or so, when it is. Never rejects. */
  release(): Promise<void>
  /** Lets go of it, but leaves it to its lifetime of some minutes: for what uses the port after this program. */
  abandon(): void
}

export interface PortMapperOptions {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** The router to ask; the default gateway. @param bound the own address that the port is bound to, if to one */
  readonly gateway?: (bound: string | undefined) => Promise<Gateway | undefined>
}

/**
 * Mappings of UDP ports on the router of this network, by NAT-PMP (RFC 6886) or UPnP: asked for, renewed, and given back.
 * What has been learned of the router is kept, so that one which maps nothing is not asked at each pairing.
 */
export class PortMapper {
  readonly #options: PortMapperOptions
  readonly #holdings = new Map<string, Holding>()
  /** Those being given back; a port that is wanted again waits for the end of that. */
  readonly #releasing = new Map<string, Promise<void>>()
  #known: { readonly gateway: Gateway; readonly mapper: Mapper } | undefined
  #deaf: { readonly gateway: Gateway; readonly until: number } | undefined

  constructor(options: PortMapperOptions) {
    this.#options = options
  }

  /**
   * Asks for a mapping of a UDP port of this machine, and holds it until everyone who wanted it has let go.
   * @param options.address the own address that the port is bound to; without it all of them
   */
  map(port: number, options: { readonly address?: string; readonly log?: Logger } = {}): PortMapping {
    const { address, log = this.#options.log } = options
    const key = `${address ?? ''} ${port}`
    let holding = this.#holdings.get(key)
    if (holding) holding.holders++
    else {
      const { clock } = this.#options
      const free = this.#releasing.get(key)
      const acquire = async (signal: AbortSignal) => {
        await free
        return await this.#acquire(port, address, signal)
      }
      holding = new Holding(port, acquire, { clock, log })
      this.#holdings.set(key, holding)
    }
    return this.#handle(key, holding)
  }

  /** Resolves when what has been let go of is given back. */
  async settled(): Promise<void> {
    await Promise.all(this.#releasing.values())
  }

  /** Gives everything back. Never rejects. */
  async close(): Promise<void> {
    for (const [key, holding] of [...this.#holdings]) this.#drop(key, holding, () => holding.release())
    await this.settled()
  }

  #handle(key: string, holding: Holding): PortMapping {
    const subscriptions: (() => void)[] = []
    let state: 'held' | 'let go' = 'held'
    const letGo = (end: () => Promise<void>) => {
      if (state === 'held') {
        state = 'let go'
        for (const unsubscribe of subscriptions) unsubscribe()
        holding.holders--
        if (holding.holders === 0) this.#drop(key, holding, end)
      }
      return this.#releasing.get(key) ?? Promise.resolve()
    }
    return {
      get external() {
        return holding.external
      },
      asked: holding.asked,
      onExternal(listener) {
        const unsubscribe = holding.onExternal(listener)
        subscriptions.push(unsubscribe)
        return unsubscribe
      },
      release: () => letGo(() => holding.release()),
      abandon: () => void letGo(() => holding.abandon()),
    }
  }

  #drop(key: string, holding: Holding, end: () => Promise<void>): void {
    if (this.#holdings.get(key) !== holding) return
    this.#holdings.delete(key)
    const ended = end().finally(() => {
      if (this.#releasing.get(key) === ended) this.#releasing.delete(key)
    })
    this.#releasing.set(key, ended)
  }

  /** @throws PlexusError PORT_MAPPING if nobody maps it, or the signal's reason */
  async #acquire(port: number, address: string | undefined, parent: AbortSignal): Promise<Granted> {
    const { clock, random, log, gateway: find = defaultGateway } = this.#options
    const limit = deadline(clock, PATIENCE, parent)
    const { signal } = limit
    try {
      const gateway = await find(address)
      signal.throwIfAborted()
      if (!gateway) throw none('There is no router of a private network to map a port on.')
      const known = this.#known && same(this.#known.gateway, gateway) ? this.#known.mapper : undefined
      if (known) {
        const lease = await known.map(port, port, LIFETIME, signal).catch(() => undefined)
        if (lease) return { mapper: known, lease }
        this.#known = undefined
        signal.throwIfAborted()
      }
      if (this.#deaf && same(this.#deaf.gateway, gateway) && clock.now() < this.#deaf.until) {
        throw none(`The router ${gateway.address} maps no ports, as it was a while ago.`)
      }
      try {
        const granted = await race({ clock, random, log, gateway }, port, signal)
        this.#known = { gateway, mapper: granted.mapper }
        this.#deaf = undefined
        return granted
      } catch (thrown) {
        if (!parent.aborted) this.#deaf = { gateway, until: clock.now() + DEAF_FOR }
        throw thrown
      }
    } finally {
      limit.dispose()
    }
  }
}

/** Asks by every protocol, NAT-PMP a little before UPnP; the first that grants the mapping wins. */
async function race(context: MapperContext, port: number, parent: AbortSignal): Promise<Granted> {
  const { clock } = context
  const won = new AbortController()
  const onabort = () => won.abort(parent.reason)
  parent.addEventListener('abort', onabort, { once: true })
  if (parent.aborted) onabort()
  const deaf = new AbortController()
  const natPmp = new NatPmp(context)
  const first = natPmp.map(port, port, LIFETIME, won.signal).then((lease) => ({ mapper: natPmp, lease }))
  first.catch(() => deaf.abort())
  const second = sleep(clock, HEAD_START, deaf.signal)
    .catch(() => {})
    .then(async () => {
      // HTTP is loaded when a router is to be spoken to, and not before
      const { Upnp } = await import('./upnp.js')
      const upnp = new Upnp(context)
      return { mapper: upnp, lease: await upnp.map(port, port, LIFETIME, won.signal) }
    })
  try {
    return await Promise.any<Granted>([first, second])
  } catch (thrown) {
    parent.throwIfAborted()
    const errors = thrown instanceof AggregateError ? thrown.errors : [thrown]
    const sentences = errors.map((error: unknown) => (error instanceof Error ? error.message : String(error)))
    throw none(sentences.join(' '))
  } finally {
    parent.removeEventListener('abort', onabort)
    won.abort(new PlexusError('CANCELLED', 'The port is mapped by another protocol.'))
    deaf.abort()
  }
}

function none(sentence: string): PlexusError {
  return new PlexusError('PORT_MAPPING', sentence)
}

function same(a: Gateway, b: Gateway): boolean {
  return a.address === b.address && a.own === b.own
}
