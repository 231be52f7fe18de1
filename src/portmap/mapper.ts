import type { Clock, Endpoint, Logger, Random } from '../net/index.js'
import { defaultGateway, defaultGateway6, type Gateway } from './gateway.js'
import { type Acquire, Holding } from './holding.js'
import { askForMapping, askForPinhole, Router } from './router.js'

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
  /** The router to ask; the default gateway. @param bound the local address that the port is bound to, if to one */
  readonly gateway?: (bound: string | undefined) => Promise<Gateway | undefined>
  /** The same for IPv6. */
  readonly gateway6?: (bound: string | undefined) => Promise<Gateway | undefined>
}

export interface MapOptions {
  /** The local address that the port is bound to; without it all of them. */
  readonly address?: string
  readonly log?: Logger
}

/**
 * Mappings of UDP ports on the router of this network, by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP, and pinholes in its
 * firewall for IPv6 (RFC 6970): asked for, renewed, and given back.
 * What has been learned of the router is kept, so that one which maps nothing is not asked at each pairing.
 */
export class PortMapper {
  readonly #options: PortMapperOptions
  readonly #holdings = new Map<string, Holding>()
  /** Those being given back; a port that is wanted again waits for the end of that. */
  readonly #releasing = new Map<string, Promise<void>>()
  readonly #mapping: Router
  readonly #pinhole: Router

  constructor(options: PortMapperOptions) {
    this.#options = options
    const { gateway = defaultGateway, gateway6 = defaultGateway6 } = options
    this.#mapping = new Router(options, gateway, askForMapping)
    this.#pinhole = new Router(options, gateway6, askForPinhole)
  }

  /** Asks for a mapping of a UDP port of this machine, and holds it until everyone who wanted it has let go. */
  map(port: number, options: MapOptions = {}): PortMapping {
    return this.#hold('port mapping', this.#mapping, port, options)
  }

  /**
   * Asks the router to let packets in to a UDP port of this machine's public IPv6 address, and holds that as `map` does. What
   * it names as the outside is this machine's own endpoint.
   */
  open(port: number, options: MapOptions = {}): PortMapping {
    return this.#hold('pinhole', this.#pinhole, port, options)
  }

  #hold(noun: 'port mapping' | 'pinhole', router: Router, port: number, options: MapOptions): PortMapping {
    const { address, log = this.#options.log } = options
    const key = `${noun} ${address ?? ''} ${port}`
    let holding = this.#holdings.get(key)
    if (holding) holding.holders++
    else {
      const { clock } = this.#options
      const free = this.#releasing.get(key)
      const acquire: Acquire = async (onasked, signal) => {
        await free
        return await router.acquire(port, address, onasked, signal)
      }
      holding = new Holding(port, acquire, { clock, log, noun })
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
}
