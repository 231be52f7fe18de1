import { PlexusError } from '../errors/index.js'
import { elementOf, parseDescription, type Service } from './description.js'
import { ask } from './http.js'
import { believable } from './nat-pmp.js'
import type { Lease, Mapper, MapperContext } from './protocol.js'
import { locate } from './ssdp.js'

/** What stands beside the mapping in the router's own pages. */
const DESCRIPTION = 'plexus'

/** Error codes of WANIPConnection 2 (table 2-21) that another external port may cure: it is taken, by a mapping or otherwise. */
const CONFLICT: ReadonlySet<number> = new Set([718, 729])
/** The router maps for ever or not at all. */
const ONLY_PERMANENT = 725

/** How many external ports are tried. */
const TRIES = 3

/** From here on ports are free for anybody (RFC 6335, section 6). */
const FIRST_DYNAMIC = 49_152

/** A router's service that maps ports, by UPnP (WANIPConnection 1 and 2, WANPPPConnection). */
export class Upnp implements Mapper {
  readonly protocol = 'UPnP'
  readonly #context: MapperContext
  #services: readonly Service[] | undefined

  constructor(context: MapperContext) {
    this.#context = context
  }

  async map(port: number, wanted: number, lifetime: number, signal: AbortSignal): Promise<Lease> {
    let failure: unknown
    for (const service of await this.#found(signal)) {
      try {
        const address = await this.#externalAddress(service, signal)
        const external = { address, port: await this.#add(service, port, wanted, lifetime, signal) }
        this.#services = [service]
        return { external, lifetime }
      } catch (thrown) {
        signal.throwIfAborted()
        failure = thrown
      }
    }
    // it may come back under another address of its own
    this.#services = undefined
    throw failure ?? declined('it names no service that does')
  }

  async unmap(_port: number, external: number, signal: AbortSignal): Promise<void> {
    const [service] = await this.#found(signal)
    if (!service) return
    const words = { NewRemoteHost: '', NewExternalPort: external, NewProtocol: 'UDP' }
    await this.#call(service, 'DeletePortMapping', words, signal)
  }

  async #found(signal: AbortSignal): Promise<readonly Service[]> {
    if (this.#services) return this.#services
    const location = await locate(this.#context, signal)
    const { status, text } = await ask(this.#context, location, undefined, signal)
    this.#services = status === 200 ? parseDescription(text, location) : []
    return this.#services
  }

  async #externalAddress(service: Service, signal: AbortSignal): Promise<string> {
    const answer = await this.#call(service, 'GetExternalIPAddress', {}, signal)
    const address = elementOf(answer, 'NewExternalIPAddress') ?? ''
    if (!believable({ address, port: 1 })) throw declined('it has no address on the outside')
    return address
  }

  /** @returns the external port */
  async #add(
    service: Service,
    port: number,
    wanted: number,
    lifetime: number,
    signal: AbortSignal,
  ): Promise<number> {
    const { gateway, random } = this.#context
    let external = wanted
    for (let tries = 1; ; tries++) {
      const words = {
        NewRemoteHost: '',
        NewExternalPort: external,
        NewProtocol: 'UDP',
        NewInternalPort: port,
        NewInternalClient: gateway.own,
        NewEnabled: 1,
        NewPortMappingDescription: DESCRIPTION,
        NewLeaseDuration: lifetime,
      }
      try {
        await this.#call(service, 'AddPortMapping', words, signal)
        return external
      } catch (thrown) {
        if (!(thrown instanceof Refusal) || !CONFLICT.has(thrown.number) || tries === TRIES) throw thrown
        external = FIRST_DYNAMIC + (random(2).readUInt16BE() % (65_536 - FIRST_DYNAMIC))
      }
    }
  }

  /** Calls an action (UPnP Device Architecture 1.1, section 3.1.1); every argument is a number, or text of our own. */
  async #call(
    { type, control }: Service,
    action: string,
    words: Readonly<Record<string, string | number>>,
    signal: AbortSignal,
  ): Promise<string> {
    const elements = Object.entries(words).map(([name, value]) => `<${name}>${value}</${name}>`)
    const body =
      '<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
      's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>' +
      `<u:${action} xmlns:u="${type}">${elements.join('')}</u:${action}></s:Body></s:Envelope>\r\n`
    const { status, text } = await ask(this.#context, control, { action: `${type}#${action}`, body }, signal)
    if (status === 200) return text
    throw new Refusal(Number(elementOf(text, 'errorCode') ?? status))
  }
}

/** The router has understood, and declines. */
class Refusal extends PlexusError {
  readonly number: number

  constructor(number: number) {
    const why = number === ONLY_PERMANENT ? 'it maps for ever or not at all' : `error ${number}`
    super('PORT_MAPPING', `The router maps no port by UPnP: ${why}.`)
    this.number = number
  }
}

function declined(why: string): PlexusError {
  return new PlexusError('PORT_MAPPING', `The router maps no port by UPnP: ${why}.`)
}
