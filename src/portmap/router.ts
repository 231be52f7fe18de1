import { PlexusError } from '../errors/index.js'
import { deadline, sleep } from '../net/index.js'
import type { Gateway } from './gateway.js'
import { type Granted, LIFETIME } from './holding.js'
import { NatPmp } from './nat-pmp.js'
import { Pcp } from './pcp.js'
import type { Mapper, MapperContext } from './protocol.js'

/** How long PCP is given before NAT-PMP is tried beside it, in ms: a router that speaks NAT-PMP alone says so at once. */
const BEFORE_NAT_PMP = 40
/**
 * How long both are given before UPnP is tried beside them, in ms: a router that speaks one of them answers in a few, and
 * then the slower protocol, with its search by multicast, is left alone.
 */
const BEFORE_UPNP = 60

/** How long all of it may take for a new mapping, in ms. What comes after the offer goes out as an update. */
const PATIENCE = 8000

/** A router that mapped nothing is asked again after so long, in ms: daemons pair often, and routers stay what they are. */
const DEAF_FOR = 600_000

/**
 * Asks a router for one port by every protocol.
 * @param onasked is told each one before it is asked
 * @throws PlexusError PORT_MAPPING, or the signal's reason
 */
export type Asking = (
  context: MapperContext,
  port: number,
  onasked: (mapper: Mapper) => void,
  signal: AbortSignal,
) => Promise<Granted>

/**
 * The router of this network, for one family, and what has been learned of it: by which protocol it maps ports, or that it
 * maps none, so that it is not asked at each pairing.
 */
export class Router {
  readonly #context: Omit<MapperContext, 'gateway'>
  readonly #find: (bound: string | undefined) => Promise<Gateway | undefined>
  readonly #ask: Asking
  #known: { readonly gateway: Gateway; readonly mapper: Mapper } | undefined
  #deaf: { readonly gateway: Gateway; readonly until: number } | undefined

  constructor(
    { clock, random, log }: Omit<MapperContext, 'gateway'>,
    find: (bound: string | undefined) => Promise<Gateway | undefined>,
    asking: Asking,
  ) {
    this.#context = { clock, random, log }
    this.#find = find
    this.#ask = asking
  }

  /**
   * @param onasked is told of each protocol before it is asked: the router may hold what no answer was waited for
   * @throws PlexusError PORT_MAPPING if nobody maps it, or the signal's reason
   */
  async acquire(
    port: number,
    address: string | undefined,
    onasked: (mapper: Mapper) => void,
    parent: AbortSignal,
  ): Promise<Granted> {
    const { clock } = this.#context
    const limit = deadline(clock, PATIENCE, parent)
    const { signal } = limit
    try {
      const gateway = await this.#find(address)
      signal.throwIfAborted()
      if (!gateway) throw none('There is no router in a private network to map a port on.')
      const known = this.#known && same(this.#known.gateway, gateway) ? this.#known.mapper : undefined
      if (known) {
        onasked(known)
        const lease = await known.map(port, port, LIFETIME, signal).catch(() => undefined)
        if (lease) return { mapper: known, lease }
        this.#known = undefined
        signal.throwIfAborted()
      }
      if (this.#deaf && same(this.#deaf.gateway, gateway) && clock.now() < this.#deaf.until) {
        throw none(`The router ${gateway.address} did not map ports when asked a while ago.`)
      }
      try {
        const granted = await this.#ask({ ...this.#context, gateway }, port, onasked, signal)
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

/** A mapping for IPv4: by PCP, NAT-PMP and UPnP. */
export const askForMapping: Asking = (context, port, onasked, signal) =>
  race(context, port, onasked, signal, [
    { after: 0, mapper: async () => new Pcp(context) },
    { after: BEFORE_NAT_PMP, mapper: async () => new NatPmp(context) },
    {
      after: BEFORE_UPNP,
      // HTTP and XML are loaded when a router is to be spoken to, and not before
      mapper: async () => new (await import('./upnp.js')).Upnp(context),
    },
  ])

/** A pinhole for IPv6: by PCP and UPnP. */
export const askForPinhole: Asking = (context, port, onasked, signal) =>
  race(context, port, onasked, signal, [
    { after: 0, mapper: async () => new Pcp(context) },
    {
      after: BEFORE_UPNP,
      mapper: async () => new (await import('./pinhole.js')).UpnpPinholes(context),
    },
  ])

interface Entrant {
  /** It begins so long after the first, in ms, or as soon as all before it have failed. */
  readonly after: number
  mapper(): Promise<Mapper>
}

/** Asks by every protocol, the quick ones a little before the others; the first that grants it wins. */
async function race(
  { clock }: MapperContext,
  port: number,
  onasked: (mapper: Mapper) => void,
  parent: AbortSignal,
  entrants: readonly Entrant[],
): Promise<Granted> {
  const won = new AbortController()
  const onabort = () => won.abort(parent.reason)
  parent.addEventListener('abort', onabort, { once: true })
  if (parent.aborted) onabort()
  const starts = entrants.map(() => new AbortController())
  let failed = 0
  const attempts = entrants.map(async ({ after, mapper }, place) => {
    if (place > 0) await sleep(clock, after, starts[place]?.signal).catch(() => {})
    try {
      won.signal.throwIfAborted()
      const asked = await mapper()
      onasked(asked)
      return { mapper: asked, lease: await asked.map(port, port, LIFETIME, won.signal) }
    } catch (thrown) {
      // the next one need not wait
      failed++
      starts[failed]?.abort()
      throw thrown
    }
  })
  try {
    return await Promise.any<Granted>(attempts)
  } catch (thrown) {
    parent.throwIfAborted()
    const errors = thrown instanceof AggregateError ? thrown.errors : [thrown]
    const sentences = errors.map((error: unknown) => (error instanceof Error ? error.message : String(error)))
    throw none(sentences.join(' '))
  } finally {
    parent.removeEventListener('abort', onabort)
    won.abort(new PlexusError('CANCELLED', 'The port is mapped by another protocol.'))
    for (const start of starts) start.abort()
  }
}

function none(sentence: string): PlexusError {
  return new PlexusError('PORT_MAPPING', sentence)
}

function same(a: Gateway, b: Gateway): boolean {
  return a.address === b.address && a.own === b.own
}
