import {
  type Endpoint,
  type Mapping,
  type NatBehaviour,
  type PortAllocation,
  sameEndpoint,
} from '../net/index.js'
import type { Sample } from './report.js'

/** Where one destination saw a socket. */
export interface Observation {
  readonly destination: Endpoint
  readonly mapped: Endpoint
}

/** What can be said of a mapping, and what is missing for more. */
export interface MappingFinding {
  readonly mapping: Mapping
  readonly why?: string
}

/**
 * How one socket is mapped towards several destinations (RFC 5780 section 4.3, for any number of servers): another
 * endpoint for another port of one address is address-and-port-dependent; the same for two ports of one address, but
 * another for another address, is address-dependent.
 */
export function mappingOf(observations: readonly Observation[]): MappingFinding {
  const byAddress = new Map<string, Observation[]>()
  for (const seen of observations) {
    const { address } = seen.destination
    byAddress.set(address, [...(byAddress.get(address) ?? []), seen])
  }
  const [first] = observations
  if (!first) return { mapping: 'unknown', why: 'no server answered' }
  const groups = [...byAddress.values()]
  if (groups.some((group) => !alike(group))) return { mapping: 'address-and-port-dependent' }
  if (groups.length === 1) return { mapping: 'unknown', why: 'only one server address answered' }
  if (alike(observations)) return { mapping: 'endpoint-independent' }
  const severalPorts = groups.some(
    (group) => new Set(group.map(({ destination }) => destination.port)).size > 1,
  )
  if (severalPorts) return { mapping: 'address-dependent' }
  return {
    mapping: 'address-and-port-dependent',
    why: 'no server answered on two ports of one address, so the mapping may depend on the address alone',
  }
}

function alike(group: readonly Observation[]): boolean {
  const [first] = group
  return first === undefined || group.every(({ mapped }) => sameEndpoint(mapped, first.mapped))
}

/** Fewer samples than this show no pattern. */
export const FEWEST_SAMPLES = 4

/**
 * The widest distance of two mappings in a row that is still a sequence: steps are 1 to 5, of NATs that keep parity or
 * give out blocks a few more, and a busy house opens some mappings in between. Six random ports come that close to
 * each other once in 10^12.
 */
const WIDEST_STEP = 64

/**
 * Which outside ports fresh sockets get (RFC 4787 section 4.2).
 * @param samples in the order in which their first packets went out
 */
export function allocationOf(samples: readonly Sample[]): PortAllocation {
  if (samples.length < FEWEST_SAMPLES) return { kind: 'unknown' }
  const kept = samples.filter(({ inside, outside }) => inside === outside.port)
  // one or two may have met a mapping of somebody else with their port
  if (kept.length * 3 >= samples.length * 2) return { kind: 'preserved' }
  const ports = samples.map(({ outside }) => outside.port)
  const steps = ports.slice(1).map((port, index) => port - (ports[index] ?? port))
  for (const sign of [1, -1]) {
    const regular = steps.map((step) => step * sign).filter((step) => step > 0 && step <= WIDEST_STEP)
    // one step may be the end of the NAT's range, or of two requests that overtook each other
    if (regular.length < steps.length - 1) continue
    // what others open in between only makes a distance longer
    return { kind: 'sequential', step: sign * usual(regular) }
  }
  return { kind: 'random' }
}

/** The distance that most of them have; of equally frequent ones the shortest. */
function usual(steps: readonly number[]): number {
  const counts = new Map<number, number>()
  for (const step of steps) counts.set(step, (counts.get(step) ?? 0) + 1)
  const sorted = [...counts].sort(([a, m], [b, n]) => n - m || a - b)
  return sorted[0]?.[0] ?? 1
}

/** Whether fresh sockets share one public address: `paired` is what that looks like, though nobody can be sure of the next. */
export function poolingOf(addresses: readonly string[]): NatBehaviour['pooling'] {
  if (new Set(addresses).size > 1) return 'arbitrary'
  return addresses.length >= FEWEST_SAMPLES ? 'paired' : 'unknown'
}
