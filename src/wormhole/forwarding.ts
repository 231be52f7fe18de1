import { asPlexusError, type PlexusError } from '../errors/index.js'
import { type Clock, formatEndpoint, type Logger, sleep } from '../net/index.js'
import { Conduit } from './conduit.js'
import { DatagramImport } from './datagram-import.js'
import { Exporter } from './exporter.js'
import { Hush } from './hush.js'
import { bytes, count, Ledger } from './ledger.js'
import { byName, type Router } from './router.js'
import { formatService, type Service } from './service.js'
import type { Share } from './share.js'
import { StreamImport } from './stream-import.js'
import type { Surroundings } from './surroundings.js'
import type { Tunnel, TunnelOver } from './tunnel/index.js'

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

/** Over how long a rate is measured, in ms. */
const SAMPLE = 1000

/** How a tunnel came to its end; `silent` never stood. */
export type CarryEnd = TunnelOver | { readonly kind: 'silent'; readonly error: PlexusError }

/** What this side offers to peers and what it takes from them, through whichever tunnels there are. */
export class Forwarding {
  readonly #around: Surroundings
  readonly #router: Router
  readonly #imports: (StreamImport | DatagramImport)[] = []
  readonly #conduits = new Map<string, Conduit>()
  readonly #tunnels = new Map<Tunnel, string>()

  private constructor(plan: ForwardingPlan, around: Surroundings) {
    this.#around = around
    this.#router = typeof plan.exports === 'function' ? plan.exports : byName(plan.exports)
    for (const { peer } of plan.imports) {
      if (!this.#conduits.has(peer)) this.#conduits.set(peer, new Conduit({ ...around, wait: plan.wait }))
    }
  }

  /**
   * Listens for every import, and says so in the log; all of them, or none is left open.
   * @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE
   */
  static async open(
    plan: ForwardingPlan,
    { clock, log }: { clock: Clock; log: Logger },
  ): Promise<Forwarding> {
    const around = { clock, log, hush: new Hush(clock), ledger: new Ledger() }
    const forwarding = new Forwarding(plan, around)
    try {
      for (const one of plan.imports) forwarding.#imports.push(await forwarding.#listen(one))
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
  async carry(peer: string, tunnel: Tunnel, log: Logger = this.#around.log): Promise<CarryEnd> {
    const { clock, ledger } = this.#around
    new Exporter(tunnel, peer, this.#router, { ...this.#around, log })
    try {
      await tunnel.ready
    } catch (thrown) {
      const error = asPlexusError(thrown, 'TUNNEL_SILENT')
      await tunnel.close()
      const { kind } = await tunnel.over
      // one that was ended by this side failed at nothing
      const level = kind === 'closed' ? 'debug' : 'warn'
      log[level]({ code: error.code }, `no tunnel came about: ${error.message}`)
      return { kind: 'silent', error }
    }
    const { path, rtt } = tunnel.stats()
    log.info({}, `the tunnel stands${to(peer)} over ${formatEndpoint(path)}${milliseconds(rtt)}`)
    const began = clock.now()
    this.#tunnels.set(tunnel, peer)
    this.#conduits.get(peer)?.attach(tunnel)
    const over = await tunnel.over
    this.#tunnels.delete(tunnel)
    ledger.settle(tunnel)
    const stood = `after ${Math.round((clock.now() - began) / 1000)} s`
    const lost = over.kind === 'dead' || over.kind === 'failed'
    if (lost)
      log.warn({}, `the tunnel${to(peer)} was lost ${stood}${over.error ? `: ${over.error.message}` : ''}`)
    else
      log.info(
        {},
        `the tunnel${to(peer)} was closed ${over.kind === 'closed' ? 'here ' : 'by the peer '}${stood}`,
      )
    return over
  }

  /** How it stands: a line for each tunnel, its rate over a second. @throws the signal's reason */
  async report(signal: AbortSignal): Promise<string[]> {
    const { clock, ledger } = this.#around
    const waiting = [...this.#conduits.values()].reduce((sum, conduit) => sum + conduit.waiting, 0)
    const lines = [
      `${count(ledger.open, 'connection')} open, ${ledger.opened} since the start, ${ledger.failed} failed, ${waiting} waiting for a tunnel; ${count(this.#tunnels.size, 'tunnel')}`,
    ]
    const before = new Map([...this.#tunnels.keys()].map((tunnel) => [tunnel, tunnel.stats()]))
    const began = clock.now()
    if (before.size > 0) await sleep(clock, SAMPLE, signal)
    const seconds = Math.max(1, clock.now() - began) / 1000
    for (const [tunnel, earlier] of before) {
      const stats = tunnel.stats()
      const rate = (now: number, then: number) => `${bytes(Math.max(0, now - then) / seconds)}/s`
      lines.push(
        `tunnel${to(this.#tunnels.get(tunnel) ?? '')} over ${formatEndpoint(stats.path)}${milliseconds(stats.rtt)}: ` +
          `${count(stats.streams, 'stream')}, ${count(stats.flows, 'flow')}, ` +
          `${bytes(stats.bytesIn)} in at ${rate(stats.bytesIn, earlier.bytesIn)}, ` +
          `${bytes(stats.bytesOut)} out at ${rate(stats.bytesOut, earlier.bytesOut)}, ${stats.retransmitted} sent again`,
      )
    }
    return lines
  }

  /** All that was forwarded, as one line. */
  summary(): string {
    return this.#around.ledger.summary()
  }

  /** Listens no more, cuts off every connection and closes every tunnel. */
  async close(reason?: PlexusError): Promise<void> {
    const why = reason ?? asPlexusError(new Error('The program is ending'), 'CANCELLED')
    for (const conduit of this.#conduits.values()) conduit.close(why)
    await Promise.all(this.#imports.splice(0).map((one) => one.close()))
    await Promise.all([...this.#tunnels.keys()].map((tunnel) => tunnel.close()))
  }
}

function to(peer: string): string {
  return peer === '' ? '' : ` to ${peer}`
}

function milliseconds(rtt: number | undefined): string {
  return rtt === undefined ? '' : `, round trip ${rtt.toFixed(1)} ms`
}
