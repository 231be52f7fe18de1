import { PlexusError } from '../errors/index.js'
import {
  type Datagram,
  type Endpoint,
  familyOf,
  formatEndpoint,
  type Logger,
  ownAddresses,
  UdpPort,
} from '../net/index.js'
import { ATTRIBUTE_TYPES, type Attribute } from './attribute.js'
import { verifyFingerprint } from './integrity.js'
import { BINDING, decode, encode, find, isStun, type Message } from './message.js'
import { SourceLimits } from './source-limits.js'

/**
 * What CHANGE-REQUEST can ask of a server: nothing without an alternate endpoint; with one that differs in address
 * and port, everything, and only then is OTHER-ADDRESS sent; else only the part that differs.
 */
export type ServerCapability = 'binding' | 'change-port' | 'change-address' | 'behaviour-discovery'

export interface StunServerOptions {
  /** Where to listen. With an unspecified address: on every address that this machine has now, one socket each. */
  readonly listen: Endpoint
  /** The other address and port of RFC 5780; their family is that of `listen`. */
  readonly alternate?: Endpoint
  readonly log: Logger
  /** Monotonic time in ms, for the limits by source; the process's own without it. */
  readonly now?: () => number
}

/** How often a set of ports that the system chooses is tried, when a number is free on one address and not on another. */
const PORT_ATTEMPTS = 16
/** How many unknown types an error names: a request with more of them is no honest one. */
const MAX_UNKNOWN = 32

/**
 * A small STUN server: Binding over UDP, no authentication, and the behaviour discovery of RFC 5780 when it has an
 * alternate endpoint. It answers from the very endpoint that was asked, with nothing that was not asked for, and
 * never to anywhere but the source: it cannot be used to reach third parties or to amplify much (RFC 5780 section
 * 11.1). Whatever is no Binding request is dropped, and so is what one network sends too much of (SOURCE_LIMIT).
 */
export class StunServer {
  readonly #listen: Endpoint
  readonly #alternate: Endpoint | undefined
  readonly #ports: ReadonlyMap<string, UdpPort>
  readonly #log: Logger
  readonly #limits = new SourceLimits()
  readonly #now: () => number
  readonly capability: ServerCapability

  private constructor(options: StunServerOptions, ports: Map<string, UdpPort>) {
    this.#listen = options.listen
    this.#alternate = options.alternate
    this.#ports = ports
    this.#log = options.log
    this.#now = options.now ?? (() => performance.now())
    this.capability = capabilityOf(options.listen, options.alternate)
    for (const port of ports.values()) {
      const asked = localOf(port)
      port.listen((datagram) => this.#receive(datagram, asked))
    }
  }

  /**
   * @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE; BAD_ENDPOINT when `alternate` does not go with `listen`
   */
  static async open(options: StunServerOptions): Promise<StunServer> {
    const { listen, alternate, log } = options
    if (alternate) checkAlternate(listen, alternate)
    const chosen = listen.port === 0 || alternate?.port === 0
    for (let attempt = 1; ; attempt++) {
      const ports = new Map<string, UdpPort>()
      try {
        const { now } = options
        const bound = bindAll(options, ports)
        const server = new StunServer({ ...bound, log, ...(now ? { now } : {}) }, ports)
        server.#announce()
        return server
      } catch (error) {
        await Promise.all([...ports.values()].map((port) => port.close()))
        const busy = error instanceof PlexusError && error.code === 'ADDRESS_IN_USE'
        if (!busy || !chosen || attempt === PORT_ATTEMPTS) throw error
      }
    }
  }

  /** Where it answers, the primary endpoint first. */
  get endpoints(): Endpoint[] {
    return [...this.#ports.values()].map(localOf)
  }

  /** Closes every socket; when it resolves the ports are free. */
  async close(): Promise<void> {
    await Promise.all([...this.#ports.values()].map((port) => port.close()))
  }

  #announce(): void {
    const fields = { endpoints: this.endpoints.map(formatEndpoint), capability: this.capability }
    const partial = this.capability === 'change-port' || this.capability === 'change-address'
    if (partial) this.#log.warn(fields, CAPABILITIES[this.capability])
    else this.#log.info(fields, CAPABILITIES[this.capability])
  }

  #receive({ data, from }: Datagram, asked: Endpoint): void {
    if (!this.#limits.allows(this.#now(), from.address)) {
      this.#log.trace({ from: formatEndpoint(from) }, 'too many requests from this network: dropped')
      return
    }
    const request = bindingRequest(data)
    if (!request) {
      this.#log.trace({ from: formatEndpoint(from), bytes: data.length }, 'not a Binding request: dropped')
      return
    }
    const unknown = this.#unsupported(request, from)
    if (unknown.length > 0) {
      this.#refuse(request, unknown, from, asked)
      return
    }
    const change = find(request, 'CHANGE-REQUEST')
    const source = this.#source(asked, change ?? { address: false, port: false })
    const attributes: Attribute[] = [{ name: 'XOR-MAPPED-ADDRESS', endpoint: from }]
    if (this.#alternate) attributes.push({ name: 'RESPONSE-ORIGIN', endpoint: source })
    if (this.capability === 'behaviour-discovery') {
      attributes.push({ name: 'OTHER-ADDRESS', endpoint: this.#source(asked, { address: true, port: true }) })
    }
    const answer = encode({ class: 'success', transaction: request.transaction, attributes })
    this.#ports.get(formatEndpoint(source))?.send(answer, from)
    this.#log.trace(
      { from: formatEndpoint(from), source: formatEndpoint(source) },
      'binding request answered',
    )
  }

  /**
   * Types that this server has to refuse: those it does not know, a CHANGE-REQUEST that it has no endpoint for, and
   * a RESPONSE-PORT, which would send the answer where nobody asked for it (RFC 5780 sections 6.1 and 7.5).
   */
  #unsupported(request: Message, from: Endpoint): number[] {
    const types = new Set(request.unknownRequired)
    const change = find(request, 'CHANGE-REQUEST')
    const able = this.capability
    if (change) {
      const address = able === 'change-address' || able === 'behaviour-discovery'
      const port = able === 'change-port' || able === 'behaviour-discovery'
      if ((change.address && !address) || (change.port && !port)) types.add(ATTRIBUTE_TYPES['CHANGE-REQUEST'])
    }
    const responsePort = find(request, 'RESPONSE-PORT')
    if (responsePort && responsePort.port !== from.port) types.add(ATTRIBUTE_TYPES['RESPONSE-PORT'])
    return [...types].slice(0, MAX_UNKNOWN)
  }

  /** 420 Unknown Attribute (RFC 8489 section 6.3.1), without the words: the number says it, and it stays small. */
  #refuse(request: Message, types: number[], from: Endpoint, asked: Endpoint): void {
    const attributes: Attribute[] = [
      { name: 'ERROR-CODE', code: 420, reason: '' },
      { name: 'UNKNOWN-ATTRIBUTES', types },
    ]
    const answer = encode({ class: 'error', transaction: request.transaction, attributes })
    this.#ports.get(formatEndpoint(asked))?.send(answer, from)
    this.#log.trace({ from: formatEndpoint(from), types }, 'binding request refused: 420')
  }

  /** The endpoint to answer from: relative to the one that was asked (RFC 5780 section 6.1, table 1). */
  #source(asked: Endpoint, change: { readonly address: boolean; readonly port: boolean }): Endpoint {
    const primary = this.#listen
    const alternate = this.#alternate
    if (!alternate) return asked
    const address = asked.address === primary.address ? alternate.address : primary.address
    const port = asked.port === primary.port ? alternate.port : primary.port
    return { address: change.address ? address : asked.address, port: change.port ? port : asked.port }
  }
}

/** What each capability means, as the log says it. */
const CAPABILITIES: Readonly<Record<ServerCapability, string>> = {
  binding: 'STUN server is listening',
  'change-port':
    'STUN server is listening; the alternate has the same address: clients can ask for the other port only, and behaviour discovery (RFC 5780) is not announced',
  'change-address':
    'STUN server is listening; the alternate has the same port: clients can ask for the other address only, and behaviour discovery (RFC 5780) is not announced',
  'behaviour-discovery': 'STUN server is listening, with behaviour discovery (RFC 5780)',
}

function capabilityOf(listen: Endpoint, alternate: Endpoint | undefined): ServerCapability {
  if (!alternate) return 'binding'
  if (alternate.address === listen.address) return 'change-port'
  return alternate.port === listen.port ? 'change-address' : 'behaviour-discovery'
}

function checkAlternate(listen: Endpoint, alternate: Endpoint): void {
  const text = formatEndpoint(alternate)
  const bad = (why: string, advice: string) =>
    new PlexusError('BAD_ENDPOINT', `${text} cannot be the alternate of ${formatEndpoint(listen)}: ${why}.`, {
      advice,
    })
  if (familyOf(listen) !== familyOf(alternate)) {
    throw bad(
      'one is IPv4, the other IPv6',
      'Use two addresses of one family; run a second server for the other family.',
    )
  }
  if (isUnspecified(listen) || isUnspecified(alternate)) {
    throw bad('answers must come from a specific address', 'Name the two addresses of this machine.')
  }
  if (listen.address === alternate.address && listen.port === alternate.port && listen.port !== 0) {
    throw bad('they are the same', 'Use another address and another port.')
  }
}

/** Opens a socket for each endpoint into `ports`, and says what the chosen ports are. */
function bindAll(
  { listen, alternate }: StunServerOptions,
  ports: Map<string, UdpPort>,
): { listen: Endpoint; alternate?: Endpoint } {
  const bind = (address: string, port: number): Endpoint => {
    const opened = UdpPort.open({ address, port })
    const local = localOf(opened)
    ports.set(formatEndpoint(local), opened)
    return local
  }
  if (!alternate) {
    const [first = listen.address, ...others] = addressesFor(listen)
    const primary = bind(first, listen.port)
    for (const address of others) bind(address, primary.port)
    return { listen: primary }
  }
  const primary = bind(listen.address, listen.port)
  const samePort = alternate.port !== 0 && alternate.port === primary.port
  if (alternate.address === listen.address)
    return { listen: primary, alternate: bind(listen.address, alternate.port) }
  if (samePort) return { listen: primary, alternate: bind(alternate.address, alternate.port) }
  const { port } = bind(listen.address, alternate.port)
  bind(alternate.address, primary.port)
  return { listen: primary, alternate: bind(alternate.address, port) }
}

/** A concrete address, or all that this machine has of the family when it is the unspecified one. */
function addressesFor(listen: Endpoint): string[] {
  if (!isUnspecified(listen)) return [listen.address]
  const family = familyOf(listen)
  const own = ownAddresses({ loopback: true }).filter((address) => address.family === family)
  return [...new Set(own.map(({ address }) => address))]
}

function isUnspecified({ address }: Endpoint): boolean {
  return address === '0.0.0.0' || address === '::'
}

function localOf(port: UdpPort): Endpoint {
  const [family = 4] = port.families
  const local = port.local(family)
  if (!local) throw new PlexusError('INTERNAL', 'A socket of the STUN server has no address.')
  return local
}

/** The message if it is a Binding request that is well formed and, if it has a FINGERPRINT, undamaged. */
function bindingRequest(data: Buffer): Message | undefined {
  if (!isStun(data)) return undefined
  try {
    const message = decode(data)
    if (message.class !== 'request' || message.method !== BINDING) return undefined
    return message.seals.fingerprint && !verifyFingerprint(message) ? undefined : message
  } catch {
    return undefined
  }
}
