import { isIPv4 } from 'node:net'
import { PlexusError } from '../errors/index.js'
import { Changes } from './changes.js'
import { type Purpose, parseDescription, type Service } from './description.js'
import { ask } from './http.js'
import { believable } from './nat-pmp.js'
import { type Lease, type Mapper, type MapperContext, PERMANENT } from './protocol.js'
import { call, Refusal } from './soap.js'
import { locations } from './ssdp.js'
import { type Element, textOf } from './xml.js'

/** What stands beside the mapping in the router's own pages. */
const DESCRIPTION = 'plexus'

/** Error codes of WANIPConnection 2 (table 2-21) that another external port may cure; 501 is what old routers say instead. */
const CONFLICT: ReadonlySet<number> = new Set([501, 718, 729])
/** The external port has to be that of the machine. */
const SAME_PORTS = 724
/** No mapping with a lease: 725 by the standard, 402 by routers of version 1 that know none. */
const NO_LEASE: ReadonlySet<number> = new Set([402, 725])
/** The router cannot be asked what it holds. */
const UNKNOWN_ACTION: ReadonlySet<number> = new Set([401, 404, 405, 501, 602])

/** How many external ports are tried. */
const TRIES = 3
/** How many mappings are looked through for those that an earlier run left behind. */
const MAX_ENTRIES = 64

/** From here on ports are free for anybody (RFC 6335, section 6). */
const FIRST_DYNAMIC = 49_152

/** Finds the router's services of one purpose. Shared by what maps ports and what opens pinholes. */
export async function findServices(
  context: MapperContext,
  purpose: Purpose,
  signal: AbortSignal,
): Promise<readonly Service[]> {
  for await (const location of locations(context, signal)) {
    const answer = await ask(context, location, undefined, signal).catch(() => undefined)
    signal.throwIfAborted()
    if (answer?.status !== 200) continue
    const services = parseDescription(answer.text, location, context.gateway)
    const fitting = services.filter((service) => service.purpose === purpose)
    if (fitting.length > 0) return fitting
    // another device of the router may do it; a router that describes itself as one does not
    if (services.length > 0) return []
  }
  return []
}

/** A router's service that maps ports, by UPnP (WANIPConnection 1 and 2, WANPPPConnection). */
export class Upnp implements Mapper {
  readonly protocol = 'UPnP'
  readonly #context: MapperContext
  readonly #changes = new Changes()
  /** The external ports that the router may hold, by internal port, and at which service. */
  readonly #made = new Map<number, Map<number, Service>>()
  #services: readonly Service[] | undefined
  /** What this router is known to grant: routers without leases are not asked for one at each renewal. */
  #leases: 'unknown' | 'none' = 'unknown'

  constructor(context: MapperContext) {
    this.#context = context
  }

  async map(port: number, wanted: number, lifetime: number, signal: AbortSignal): Promise<Lease> {
    let failure: unknown
    for (const service of await this.#found(signal)) {
      try {
        const address = await this.#externalAddress(service, signal)
        const granted = await this.#add(service, port, wanted, lifetime, signal)
        this.#services = [service]
        return { external: { address, port: granted.port }, lifetime: granted.lifetime }
      } catch (thrown) {
        signal.throwIfAborted()
        failure = thrown
      }
    }
    // it may come back under another address of its own
    this.#services = undefined
    throw failure ?? declined('it names no service that does')
  }

  async unmap(port: number, signal: AbortSignal): Promise<void> {
    await this.#changes.settled(port, signal)
    const made = this.#made.get(port)
    this.#made.delete(port)
    for (const [external, service] of made ?? []) await this.#delete(service, external, signal)
  }

  async #delete(service: Service, external: number, signal: AbortSignal): Promise<void> {
    const words = { NewRemoteHost: '', NewExternalPort: external, NewProtocol: 'UDP' }
    await call(this.#context, service, 'DeletePortMapping', words, signal)
  }

  async #found(signal: AbortSignal): Promise<readonly Service[]> {
    this.#services ??= await findServices(this.#context, 'mappings', signal)
    return this.#services
  }

  async #externalAddress(service: Service, signal: AbortSignal): Promise<string> {
    const answer = await call(this.#context, service, 'GetExternalIPAddress', {}, signal)
    const address = textOf(answer, 'NewExternalIPAddress') ?? ''
    if (!isIPv4(address) || !believable({ address, port: 1 })) {
      throw declined('it has no public address')
    }
    return address
  }

  /** @returns the external port, and the lifetime that it was granted for, in seconds */
  async #add(
    service: Service,
    port: number,
    wanted: number,
    lifetime: number,
    signal: AbortSignal,
  ): Promise<{ port: number; lifetime: number }> {
    let external = wanted
    let lease = this.#leases === 'none' ? 0 : lifetime
    for (let tries = 1; ; ) {
      try {
        await this.#addOne(service, port, external, lease, signal)
        if (lease === 0) this.#leases = 'none'
        return { port: external, lifetime: lease === 0 ? PERMANENT : lease }
      } catch (thrown) {
        if (!(thrown instanceof Refusal)) throw thrown
        if (NO_LEASE.has(thrown.number) && lease !== 0) {
          lease = 0
          await this.#sweep(service, signal)
          continue
        }
        if (++tries > TRIES) throw thrown
        if (thrown.number === SAME_PORTS && external !== port) external = port
        else if (CONFLICT.has(thrown.number)) external = this.#anyPort()
        else throw thrown
      }
    }
  }

  #anyPort(): number {
    return FIRST_DYNAMIC + (this.#context.random(2).readUInt16BE() % (65_536 - FIRST_DYNAMIC))
  }

  /** Adds a mapping and asks it back: that it says so is not enough with routers that forward nothing. */
  async #addOne(
    service: Service,
    port: number,
    external: number,
    lease: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { own } = this.#context.gateway
    const words = {
      NewRemoteHost: '',
      NewExternalPort: external,
      NewProtocol: 'UDP',
      NewInternalPort: port,
      NewInternalClient: own,
      NewEnabled: 1,
      NewPortMappingDescription: DESCRIPTION,
      NewLeaseDuration: lease,
    }
    await this.#changes.run(
      port,
      async (running) => {
        await call(this.#context, service, 'AddPortMapping', words, running)
        this.#made.set(port, (this.#made.get(port) ?? new Map()).set(external, service))
      },
      signal,
    )
    const entry = await this.#entry(service, external, signal)
    if (entry === 'cannot be asked') {
      this.#context.log.debug({}, 'the router cannot be asked whether it holds the port mapping')
      return
    }
    const holds = entry && entry.client === own && entry.port === port && entry.enabled
    if (holds) return
    await this.#delete(service, external, signal).catch(() => {})
    this.#made.get(port)?.delete(external)
    throw declined('it says that it did, but does not have the mapping when asked')
  }

  async #entry(service: Service, external: number, signal: AbortSignal) {
    const words = { NewRemoteHost: '', NewExternalPort: external, NewProtocol: 'UDP' }
    try {
      return entryOf(await call(this.#context, service, 'GetSpecificPortMappingEntry', words, signal))
    } catch (thrown) {
      signal.throwIfAborted()
      if (thrown instanceof Refusal && !UNKNOWN_ACTION.has(thrown.number)) return undefined
      return 'cannot be asked' as const
    }
  }

  /**
   * Gives back what an earlier run that was killed has left behind at a router that maps only for ever: mappings under our
   * name to ports of this machine that nobody has open.
   */
  async #sweep(service: Service, signal: AbortSignal): Promise<void> {
    const { gateway, log } = this.#context
    const { unusedPort } = await import('./unused-port.js')
    for (let index = 0, steps = 0; steps < MAX_ENTRIES; steps++) {
      const answer = await call(
        this.#context,
        service,
        'GetGenericPortMappingEntry',
        { NewPortMappingIndex: index },
        signal,
      ).catch(() => undefined)
      signal.throwIfAborted()
      if (!answer) return
      const { client, port, external, protocol, description } = entryOf(answer)
      const ours = description === DESCRIPTION && protocol === 'UDP' && client === gateway.own
      const gone =
        ours &&
        (await unusedPort(gateway.own, port)) &&
        (await this.#delete(service, external, signal).then(
          () => true,
          () => false,
        ))
      if (gone) log.info({}, `removed port mapping ${external}, left behind by an earlier run`)
      // the entries behind one that has gone move up
      else index++
    }
  }
}

function entryOf(answer: Element) {
  const number = (name: string) => Number(textOf(answer, name) ?? Number.NaN)
  return {
    client: textOf(answer, 'NewInternalClient'),
    port: number('NewInternalPort'),
    external: number('NewExternalPort'),
    protocol: textOf(answer, 'NewProtocol')?.toUpperCase(),
    description: textOf(answer, 'NewPortMappingDescription'),
    enabled: !/^(?:0|false|no)$/i.test(textOf(answer, 'NewEnabled') ?? ''),
  }
}

function declined(why: string): PlexusError {
  return new PlexusError('PORT_MAPPING', `The router did not map the port by UPnP: ${why}.`)
}
