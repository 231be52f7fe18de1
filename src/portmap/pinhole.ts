import { PlexusError } from '../errors/index.js'
import { Changes } from './changes.js'
import type { Service } from './description.js'
import type { Lease, Mapper, MapperContext } from './protocol.js'
import { call, Refusal } from './soap.js'
import { findServices } from './upnp.js'
import { textOf } from './xml.js'

const UDP = 17
/** NoSuchEntry (WANIPv6FirewallControl 1, table 2-8): the router was started anew. */
const GONE = 704

/**
 * Pinholes in a router's firewall for IPv6 by UPnP (WANIPv6FirewallControl 1), for an address of this machine. The router is
 * spoken to over IPv6 and from that address: it lets nobody ask for another.
 */
export class UpnpPinholes implements Mapper {
  readonly protocol = 'UPnP'
  readonly #context: MapperContext
  /** What the router calls each pinhole, by port. */
  readonly #numbers = new Map<number, number>()
  readonly #changes = new Changes()
  #service: Service | undefined

  constructor(context: MapperContext) {
    this.#context = context
  }

  async map(port: number, _wanted: number, lifetime: number, signal: AbortSignal): Promise<Lease> {
    const lease: Lease = { external: { address: this.#context.gateway.own, port }, lifetime }
    const service = await this.#found(signal)
    const known = this.#numbers.get(port)
    if (known !== undefined) {
      try {
        const words = { UniqueID: known, NewLeaseTime: lifetime }
        await call(this.#context, service, 'UpdatePinhole', words, signal)
        return lease
      } catch (thrown) {
        if (!(thrown instanceof Refusal) || thrown.number !== GONE) throw thrown
      }
    }
    const status = await call(this.#context, service, 'GetFirewallStatus', {}, signal)
    if (no(textOf(status, 'InboundPinholeAllowed'))) throw declined('it allows none')
    const words = {
      RemoteHost: '',
      RemotePort: 0,
      InternalClient: this.#context.gateway.own,
      InternalPort: port,
      Protocol: UDP,
      LeaseTime: lifetime,
    }
    await this.#changes.run(
      port,
      async (running) => {
        const answer = await call(this.#context, service, 'AddPinhole', words, running)
        const number = Number(textOf(answer, 'UniqueID') ?? Number.NaN)
        if (!Number.isInteger(number)) throw declined('it does not say which it opened')
        this.#numbers.set(port, number)
      },
      signal,
    )
    return lease
  }

  async unmap(port: number, signal: AbortSignal): Promise<void> {
    await this.#changes.settled(port, signal)
    const number = this.#numbers.get(port)
    if (number === undefined) return
    this.#numbers.delete(port)
    await call(this.#context, await this.#found(signal), 'DeletePinhole', { UniqueID: number }, signal)
  }

  async #found(signal: AbortSignal): Promise<Service> {
    this.#service ??= (await findServices(this.#context, 'pinholes', signal))[0]
    if (!this.#service) throw declined('it names no service that does')
    return this.#service
  }
}

function no(text: string | undefined): boolean {
  return /^(?:0|false|no)$/i.test(text ?? '')
}

function declined(why: string): PlexusError {
  return new PlexusError('PORT_MAPPING', `The router opens no pinhole by UPnP: ${why}.`)
}
