import { Budget, UNBOUNDED } from '../budget/index.js'
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

/** An import, and what listens for it. */
interface Listening {
  readonly one: Import
  readonly at: StreamImport | DatagramImport
}

/** What tells imports apart: nothing of one that has the same key changes. */
function keyOf({ name, service, peer }: Import): string {
  return JSON.stringify([name, service, peer])
}

function announceImport({ name, service }: Listening['at'], log: Logger): void {
  log.info({}, `importing ${name} at ${formatService(service)}`)
}

function announceExport({ name, service, peers }: Share, log: Logger): void {
  const whose = peers.length > 0 ? ` to ${peers.join(', ')}` : ''
  log.info({}, `exporting ${name} (${formatService(service)})${whose}`)
}

/** What this side offers to peers and what it takes from them, through whichever tunnels there are. */
export class Forwarding {
  readonly #around: Surroundings
  readonly #wait: number
  #router: Router
  #exports: readonly Share[] | undefined
  #imports: readonly Listening[] = []
  readonly #conduits = new Map<string, Conduit>()
  /** With whom each is. */
  readonly #tunnels = new Map<Tunnel, string>()
  #ondemand: () => void = () => {}
  #state: 'open' | 'closed' = 'open'
  readonly #carrying = new Set<Promise<CarryEnd>>()
  readonly #ledger: Ledger

  private constructor(plan: ForwardingPlan, around: Surroundings) {
    this.#around = around
    this.#wait = plan.wait
    this.#ledger = new Ledger(around.scope)
    this.#router = typeof plan.exports === 'function' ? plan.exports : byName(plan.exports)
    this.#exports = typeof plan.exports === 'function' ? undefined : plan.exports
  }

  /**
   * Listens for every import, and says so in the log; all of them, or none is left open.
   * @param around `scope`: what a watcher tells the tunnels and connections of this one by; `budget`: what peers may use,
   *   without it whatever there is
   * @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE
   */
  static async open(
    plan: ForwardingPlan,
    {
      clock,
      log,
      scope = {},
      budget = new Budget(UNBOUNDED),
    }: { clock: Clock; log: Logger; scope?: object; budget?: Budget },
  ): Promise<Forwarding> {
    const around = { clock, log, hush: new Hush(clock), scope, budget }
    const forwarding = new Forwarding(plan, around)
    try {
      for (const one of plan.imports)
        forwarding.#imports = [...forwarding.#imports, await forwarding.#listen(one)]
    } catch (thrown) {
      await forwarding.close()
      throw thrown
    }
    for (const { at } of forwarding.#imports) announceImport(at, log)
    for (const share of forwarding.#exports ?? []) announceExport(share, log)
    return forwarding
  }

  /**
   * Changes to another plan: what is in both goes on untouched. An import that is not in it any more refuses connections,
   * and one that cannot listen is left out; the same plan once more tries it again. One call at a time.
   * @returns the imports that cannot listen, and why
   */
  async change({
    exports,
    imports,
  }: Pick<ForwardingPlan, 'exports' | 'imports'>): Promise<{ one: Import; error: PlexusError }[]> {
    const { log } = this.#around
    if (typeof exports !== 'function') {
      const before = new Set((this.#exports ?? []).map((share) => JSON.stringify(share)))
      for (const share of exports) if (!before.has(JSON.stringify(share))) announceExport(share, log)
    }
    this.#router = typeof exports === 'function' ? exports : byName(exports)
    this.#exports = typeof exports === 'function' ? undefined : exports
    const wanted = new Map(imports.map((one) => [keyOf(one), one]))
    const [staying, going] = [
      this.#imports.filter(({ one }) => wanted.has(keyOf(one))),
      this.#imports.filter(({ one }) => !wanted.has(keyOf(one))),
    ]
    this.#imports = staying
    await Promise.all(going.map(({ at }) => at.close()))
    for (const { one } of staying) wanted.delete(keyOf(one))
    const failed = []
    for (const one of wanted.values()) {
      try {
        const listening = await this.#listen(one)
        if (this.#state === 'closed') {
          await listening.at.close()
          break
        }
        this.#imports = [...this.#imports, listening]
        announceImport(listening.at, log)
      } catch (thrown) {
        failed.push({ one, error: asPlexusError(thrown) })
      }
    }
    return failed
  }

  /** Where the imports listen, by their order. */
  get listening(): readonly Service[] {
    return this.#imports.map(({ at }) => at.service)
  }

  /** Whether a local connection waits for a tunnel. */
  get wanted(): boolean {
    return [...this.#conduits.values()].some(({ waiting }) => waiting > 0)
  }

  /** Calls back when a local connection begins to wait for a tunnel. */
  set ondemand(callback: () => void) {
    this.#ondemand = callback
    for (const conduit of this.#conduits.values()) conduit.ondemand = callback
  }

  async #listen(one: Import): Promise<Listening> {
    const { name, service, peer } = one
    const conduit = this.#conduitTo(peer)
    const at =
      service.kind === 'udp'
        ? await DatagramImport.open(name, service, conduit, this.#around)
        : await StreamImport.open(name, service, conduit, this.#around)
    return { one, at }
  }

  #conduitTo(peer: string): Conduit {
    const known = this.#conduits.get(peer)
    if (known) return known
    const { clock, budget } = this.#around
    const conduit = new Conduit({ clock, wait: this.#wait, share: budget.share(peer) })
    conduit.ondemand = this.#ondemand
    for (const [tunnel, whose] of this.#tunnels) if (whose === peer) conduit.attach(tunnel)
    this.#conduits.set(peer, conduit)
    return conduit
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
    // the plan may change while the tunnel is up
    const router: Router = (request) => this.#router(request)
    const names = () => this.#exports && exportsFor(this.#exports, peer).map(({ name }) => name)
    new Exporter(tunnel, peer, { router, names }, around)
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
    this.#tunnels.set(tunnel, peer)
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
    const imports = this.#imports.filter(({ one }) => one.peer === peer)
    if (imports.length === 0) return
    const names = await askNames(tunnel, this.#around.clock)
    const missing = imports.filter(({ one }) => names && !names.includes(one.name) && !/^\d+$/.test(one.name))
    const exported = names?.length === 0 ? 'nothing to this side' : names?.join(', ')
    for (const { one } of missing) {
      log.warn({}, `${peer} does not export '${one.name}': it exports ${exported}`)
    }
    if (names && missing.length === 0) log.debug({}, `${peer} exports ${exported}`)
    for (const listening of imports) {
      const { one, at } = listening
      if (!missing.includes(listening)) log.info({}, `ready: ${useOf(one.name, at.service)}`)
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
    this.#state = 'closed'
    for (const conduit of this.#conduits.values()) conduit.close(why)
    await Promise.all(this.#imports.map(({ at }) => at.close()))
    this.#imports = []
    await Promise.all([...this.#tunnels.keys()].map((tunnel) => tunnel.close()))
    await Promise.all(this.#carrying)
    this.#ledger.close()
  }
}
