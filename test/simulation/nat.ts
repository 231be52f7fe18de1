import { type Endpoint, formatEndpoint } from '../../src/net/index.js'
import type { Prng } from './prng.js'

/** On what of the other endpoint a mapping or a filter depends (RFC 4787 sections 4.1 and 5). */
export type Dependence = 'independent' | 'address' | 'address and port'

export interface NatBehaviour {
  readonly mapping: Dependence
  readonly filtering: Dependence
  /**
   * What a packet that nobody asked for brings about. `clash`: it makes an entry in the connection table, as on a
   * Linux router whose own INPUT is open, so that a packet out to where it came from gets another port. `blacklist`:
   * its sender is not let in for a minute.
   */
  readonly unasked?: 'drop' | 'clash' | 'blacklist'
  /** How far each new mapping's port is from the last one's; without it ports are random. */
  readonly step?: number
  /** The ports that random ones are drawn from; all from 1024 without it. */
  readonly block?: { readonly from: number; readonly to: number }
}

export const DEPENDENCES: readonly Dependence[] = ['independent', 'address', 'address and port']

/** Every mapping with every filtering. */
export const NATS: readonly NatBehaviour[] = DEPENDENCES.flatMap((mapping) =>
  DEPENDENCES.map((filtering) => ({ mapping, filtering })),
)

const MAPPING_LIFETIME = 30_000
const CLASH_LIFETIME = 30_000
const BLACKLIST_LIFETIME = 60_000

interface Mapping {
  readonly inner: Endpoint
  readonly outer: Endpoint
  readonly permitted: Set<string>
  lastOut: number
}

/** A NAT with one public address. Time is in ms. */
export class Nat {
  readonly address: string
  readonly #behaviour: NatBehaviour
  readonly #prng: Prng
  readonly #byFlow = new Map<string, Mapping>()
  readonly #byPort = new Map<number, Mapping>()
  readonly #clashes = new Map<string, number>()
  readonly #blacklist = new Map<string, number>()
  #sequence: number | undefined

  constructor(address: string, behaviour: NatBehaviour, prng: Prng) {
    this.address = address
    this.#behaviour = behaviour
    this.#prng = prng
  }

  /** Translates a packet on its way out: what it comes from now. */
  outbound(now: number, inner: Endpoint, to: Endpoint): Endpoint {
    const flow = `${formatEndpoint(inner)} ${formatEndpoint(to)}`
    // a flow that had to take another port keeps it
    const key = this.#byFlow.has(flow)
      ? flow
      : `${formatEndpoint(inner)} ${part(this.#behaviour.mapping, to)}`
    let mapping = this.#fresh(now, key) ?? this.#map(key, inner)
    if ((this.#clashes.get(`${mapping.outer.port} ${formatEndpoint(to)}`) ?? 0) > now && key !== flow) {
      mapping = this.#map(flow, inner)
    }
    mapping.lastOut = now
    mapping.permitted.add(part(this.#behaviour.filtering, to))
    return mapping.outer
  }

  /** Translates a packet on its way in: whom it is for; undefined if it does not get in. */
  inbound(now: number, port: number, from: Endpoint): Endpoint | undefined {
    if ((this.#blacklist.get(from.address) ?? 0) > now) return undefined
    const mapping = this.#byPort.get(port)
    const alive = mapping && mapping.lastOut + MAPPING_LIFETIME > now
    if (alive && mapping.permitted.has(part(this.#behaviour.filtering, from))) return mapping.inner
    if (alive && this.#behaviour.filtering === 'independent') return mapping.inner
    if (this.#behaviour.unasked === 'clash') {
      this.#clashes.set(`${port} ${formatEndpoint(from)}`, now + CLASH_LIFETIME)
    }
    if (this.#behaviour.unasked === 'blacklist') this.#blacklist.set(from.address, now + BLACKLIST_LIFETIME)
    return undefined
  }

  /** Somebody else in the house opens so many mappings. */
  drift(mappings: number): void {
    const { step = 0 } = this.#behaviour
    for (let n = 0; n < mappings; n++) this.#advance(step)
  }

  #advance(step: number): number {
    this.#sequence ??= this.#prng.integer(1024, 65535)
    this.#sequence += step
    if (this.#sequence > 65535) this.#sequence -= 64512
    if (this.#sequence < 1024) this.#sequence += 64512
    return this.#sequence
  }

  #fresh(now: number, key: string): Mapping | undefined {
    const mapping = this.#byFlow.get(key)
    return mapping && mapping.lastOut + MAPPING_LIFETIME > now ? mapping : undefined
  }

  #map(key: string, inner: Endpoint): Mapping {
    const { step, block = { from: 1024, to: 65535 } } = this.#behaviour
    let port = 0
    do port = step ? this.#advance(step) : this.#prng.integer(block.from, block.to)
    while (this.#byPort.has(port))
    const mapping = {
      inner,
      outer: { address: this.address, port },
      permitted: new Set<string>(),
      lastOut: 0,
    }
    this.#byFlow.set(key, mapping)
    this.#byPort.set(port, mapping)
    return mapping
  }
}

function part(dependence: Dependence, endpoint: Endpoint): string {
  if (dependence === 'independent') return '*'
  return dependence === 'address' ? endpoint.address : formatEndpoint(endpoint)
}

/** `EIM APDF`, or `public` without a NAT. */
export function nameOf(behaviour: NatBehaviour | undefined): string {
  if (!behaviour) return 'public'
  const letters = { independent: 'EI', address: 'AD', 'address and port': 'APD' }
  const unasked = behaviour.unasked && behaviour.unasked !== 'drop' ? ` ${behaviour.unasked}` : ''
  return `${letters[behaviour.mapping]}M ${letters[behaviour.filtering]}F${unasked}`
}

/**
 * Whether two such networks can connect at all without guessing a port.
 *
 * A mapping that does not depend on the peer is known to it beforehand. One that does is only found by the packet
 * that comes out of it, so the other side has to let that in. If both depend, one side must let anything in at the
 * mapping that STUN made, the other anything from that address, and one of them must map by address alone, so that
 * it stays where it was found.
 */
export function canConnect(a: NatBehaviour | undefined, b: NatBehaviour | undefined): boolean {
  const open: NatBehaviour = { mapping: 'independent', filtering: 'independent' }
  const [x, y] = [a ?? open, b ?? open]
  const fixed = [x, y].filter((nat) => nat.mapping === 'independent')
  if (fixed.length === 2) return true
  if (fixed.length === 1) return fixed[0]?.filtering !== 'address and port'
  if (x.mapping !== 'address' && y.mapping !== 'address') return false
  const found = (one: NatBehaviour, other: NatBehaviour) =>
    one.filtering === 'independent' && other.filtering !== 'address and port'
  return found(x, y) || found(y, x)
}
