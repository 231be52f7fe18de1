import { asPlexusError, type PlexusError } from '../errors/index.js'
import type { Clock, Logger } from '../net/index.js'
import { publish } from '../watch/index.js'
import { Conduit } from './conduit.js'
import { DatagramImport } from './datagram-import.js'
import { Exporter } from './exporter.js'
import { Hush } from './hush.js'
import { Ledger } from './ledger.js'
import { askNames } from './names.js'
import { report } from './report.js'
import { byName, exportsFor, type Router } from './router.js'
import { formatService, type Service } from './service.js'
import type { Share } from './share.js'
import { StreamImport } from './stream-import.js'
import type { Surroundings } from './surroundings.js'
import type { Tunnel, TunnelOver } from './tunnel/index.js'
import { useOf } from './use.js'

/** A service of a peer that is offered on this machine. */
export interface Import {
  readonly name: string
  readonly service: Service
  /** Whose it is, as `carry` calls it. */
  readonly peer: string
}

export interface ForwardingPlan {
  /** What peers may reach here: a list, matched by name, or whatever a router decides. */
  readonly exports: readonly Share[] | Router
  readonly imports: readonly Import[]
  /** How long a local connection waits for a tunnel, in ms. */
  readonly wait: number
}

/** How a tunnel came to its end; `silent` never stood. */
export type CarryEnd = TunnelOver | { readonly kind: 'silent'; readonly error: PlexusError }

/** What this side offers to peers and what it takes from them, through whichever tunnels there are. */
export class Forwarding {
  readonly #around: Surroundings
  readonly #router: Router
  readonly #exports: readonly Share[] | undefined
  readonly #imports: (StreamImport | DatagramImport)[] = []
  /** Whose each import is. */
  readonly #owners: string[] = []
  readonly #conduits = new Map<string, Conduit>()
  readonly #tunnels = new Set<Tunnel>()
  readonly #carrying = new Set<Promise<CarryEnd>>()
  readonly #ledger: Ledger

  private constructor(plan: ForwardingPlan, around: Surroundings) {
    this.#around = around
    this.#ledger = new Ledger(around.scope)
    this.#router = typeof plan.exports === 'function' ? plan.exports : byName(plan.exports)
    this.#exports = typeof plan.exports === 'function' ? undefined : plan.exports
    for (const { peer } of plan.imports) {
      if (!this.#conduits.has(peer)) this.#conduits.set(peer, new Conduit({ ...around, wait: plan.wait }))
    }
  }

  /**
   * Listens for every import, and says so in the log; all of them, or none is left open.
   * @param around `scope`: what a watcher tells the tunnels and connections of this one by
   * @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE
   */
  static async open(
    plan: ForwardingPlan,
    { clock, log, scope = {} }: { clock: Clock; log: Logger; scope?: object },
  ): Promise<Forwarding> {
    const around = { clock, log, hush: new Hush(clock), scope }
    const forwarding = new Forwarding(plan, around)
    try {
      for (const one of plan.imports) {
        forwarding.#imports.push(await forwarding.#listen(one))
        forwarding.#owners.push(one.peer)
      }
    } catch (thrown) {
      await forwarding.close()
      throw thrown
    }
    for (const { name, service } of forwarding.#imports) {
      log.info({}, `importing ${name} at ${formatService(service)}`)
    }
    if (typeof plan.exports !== 'function') {
      for (const { name, service, peers } of plan.exports) {
        log.info(
          {},
          `exporting ${name} (${formatService(service)})${peers.length > 0 ? ` to ${peers.join(', ')}` : ''}`,
        )
      }
    }
    return forwarding
  }

  /** Where the imports listen, by their order. */
  get listening(): readonly Service[] {
    return this.#imports.map(({ service }) => service)
  }

  /** Whether a local connection waits for a tunnel. */
  get wanted(): boolean {
    return [...this.#conduits.values()].some(({ waiting }) => waiting > 0)
  }

  /** Calls back when a local connection begins to wait for a tunnel. */
  set ondemand(callback: () => void) {
    for (const conduit of this.#conduits.values()) conduit.ondemand = callback
  }

  #listen({ name, service, peer }: Import): Promise<StreamImport | DatagramImport> {
    const conduit = this.#conduits.get(peer)
    if (conduit === undefined) throw new Error('every import has a conduit')
    return service.kind === 'udp'
      ? DatagramImport.open(name, service, conduit, this.#around)
      : StreamImport.open(name, service, conduit, this.#around)
  }

  /**
   * Uses a tunnel that was just opened, until it is over. Never rejects.
   * @param peer who is at its other end
   * @param log names the session
   */
  carry(peer: string, tunnel: Tunnel, log: Logger = this.#around.log): Promise<CarryEnd> {
    const carrying = this.#carry(peer, tunnel, { ...this.#around, log })
    this.#carrying.add(carrying)
    return carrying.finally(() => this.#carrying.delete(carrying))
  }

  async #carry(peer: string, tunnel: Tunnel, around: Surroundings): Promise<CarryEnd> {
    const { clock } = around
    const names = this.#exports && exportsFor(this.#exports, peer).map(({ name }) => name)
    new Exporter(tunnel, peer, { router: this.#router, ...(names ? { names } : {}) }, around)
    try {
      await tunnel.ready
    } catch (thrown) {
      const error = asPlexusError(thrown, 'TUNNEL_SILENT')
      await tunnel.close()
      const closed = (await tunnel.over).kind === 'closed'
      publish('plexus:tunnel', around, () => ({ name: 'silent', peer, error, closed }))
      return { kind: 'silent', error }
    }
    const read = () => tunnel.stats()
    publish('plexus:tunnel', around, () => ({ name: 'up', tunnel, peer, read }))
    const began = clock.now()
    this.#tunnels.add(tunnel)
    this.#conduits.get(peer)?.attach(tunnel)
    void this.#compare(peer, tunnel, around.log)
    const over = await tunnel.over
    this.#tunnels.delete(tunnel)
    publish('plexus:tunnel', around, () => {
      const lasted = clock.now() - began
      return { name: 'over', tunnel, peer, end: over.kind, error: over.error, lasted, reading: read() }
    })
    return over
  }

  /** Says how what is imported from the peer can be used, and at once what the peer does not export. Never rejects. */
  async #compare(peer: string, tunnel: Tunnel, log: Logger): Promise<void> {
    const imports = this.#imports.filter((_, index) => this.#owners[index] === peer)
    if (imports.length === 0) return
    const names = await askNames(tunnel, this.#around.clock)
    const missing = imports.filter(({ name }) => names && !names.includes(name) && !/^\d+$/.test(name))
    const exported = names?.length === 0 ? 'nothing to this side' : names?.join(', ')
    for (const { name } of missing) {
      log.warn({}, `${peer} does not export '${name}': it exports ${exported}`)
    }
    if (names && missing.length === 0) log.debug({}, `${peer} exports ${exported}`)
    for (const { name, service } of imports) {
      if (!missing.some((one) => one.name === name)) log.info({}, `ready: ${useOf(name, service)}`)
    }
  }

  /** How it stands: a line for each tunnel, its rate over a second. @throws the signal's reason */
  async report(signal: AbortSignal): Promise<string[]> {
    const { clock } = this.#around
    const waiting = [...this.#conduits.values()].reduce((sum, conduit) => sum + conduit.waiting, 0)
    return await report(this.#ledger, { clock, waiting, signal })
  }

  /** All that was forwarded, as one line. */
  summary(): string {
    return this.#ledger.summary()
  }

  /** Listens no more, cuts off every connection and closes every tunnel. */
  async close(reason?: PlexusError): Promise<void> {
    const why = reason ?? asPlexusError(new Error('The program is ending'), 'CANCELLED')
    for (const conduit of this.#conduits.values()) conduit.close(why)
    await Promise.all(this.#imports.splice(0).map((one) => one.close()))
    await Promise.all([...this.#tunnels].map((tunnel) => tunnel.close()))
    await Promise.all(this.#carrying)
    this.#ledger.close()
  }
}
