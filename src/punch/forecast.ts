import type { PortAllocation } from '../net/index.js'
import type { NatHint } from './prospect.js'
import { stepOf } from './prospect.js'

/** The ports that a NAT may give out at all: the well-known ones are left alone (RFC 4787 REQ-3). */
export const LOWEST_PORT = 1024
export const HIGHEST_PORT = 65_535

/** Fewer samples than this show no pattern. */
const FEWEST_SAMPLES = 4

/**
 * The widest distance of two mappings in a row that still is a sequence: steps are 1 to 5 (of the NATs that have one),
 * and a busy house opens some mappings in between. Eight random ports within 7 × 64 come once in 10^13.
 */
const WIDEST_STEP = 64

/**
 * The widest distance of two neighbours in the order of their numbers, where requests overtook each other so that the order in
 * which they were opened shows nothing. Eight random ports of a carrier's block of 512 come so close once in 10^5.
 */
const CLOSE_STEP = 16

/**
 * How ports are given out, from those that fresh sockets got in the order in which they were opened. `preserved` cannot
 * be told from outside ports alone.
 */
export function allocationOf(ports: readonly number[]): PortAllocation {
  if (ports.length < FEWEST_SAMPLES) return { kind: 'unknown' }
  const steps = ports.slice(1).map((port, index) => port - (ports[index] ?? port))
  // the end of the NAT's range, or two requests that overtook each other
  const irregular = (sign: number) => steps.filter((step) => step * sign <= 0 || step * sign > WIDEST_STEP)
  for (const sign of [1, -1]) {
    if (irregular(sign).length > 1) continue
    const regular = steps.map((step) => step * sign).filter((step) => step > 0 && step <= WIDEST_STEP)
    // what others open in between only makes a distance longer
    return { kind: 'sequential', step: sign * Math.min(...regular) }
  }
  return crowded(ports) ?? { kind: 'random' }
}

/** A sequence whose requests overtook each other: its ports lie side by side, in whatever order they came. */
function crowded(ports: readonly number[]): PortAllocation | undefined {
  const sorted = [...ports].sort((one, other) => one - other)
  const gaps = sorted.slice(1).map((port, index) => port - (sorted[index] ?? port))
  if (gaps.some((gap) => gap < 1 || gap > CLOSE_STEP)) return undefined
  const sign = (ports.at(-1) ?? 0) >= (ports[0] ?? 0) ? 1 : -1
  return { kind: 'sequential', step: sign * Math.min(...gaps) }
}

/** Ports to probe in this order, `count` of them. */
export type PortPattern =
  /** `from`, and each further one `step` (not 0) away from the last. */
  | { readonly kind: 'window'; readonly from: number; readonly step: number; readonly count: number }
  /** At random without repetition, both ends among them. */
  | { readonly kind: 'random'; readonly from: number; readonly to: number; readonly count: number }

/** The port that a sequential NAT gives out `mappings` mappings after the last one that was sampled. */
export function forecast(nat: NatHint, mappings: number): number {
  const step = stepOf(nat) ?? 1
  const last = step > 0 ? Math.max(...nat.ports) : Math.min(...nat.ports)
  return withinRange(last + step * mappings)
}

/** Ports run on at the other end of the range. */
export function withinRange(port: number): number {
  const size = HIGHEST_PORT - LOWEST_PORT + 1
  return LOWEST_PORT + ((((port - LOWEST_PORT) % size) + size) % size)
}

/**
 * The range that random ports come from, by a sample: as far beyond its ends as two usual gaps. If the NAT's range is
 * wider that costs nothing, as its mappings lie in every part of it alike; if it is a small block, as carriers give to
 * each customer, it saves nearly everything.
 */
export function rangeOf(ports: readonly number[]): { from: number; to: number } {
  if (ports.length < FEWEST_SAMPLES) return { from: LOWEST_PORT, to: HIGHEST_PORT }
  const [low, high] = [Math.min(...ports), Math.max(...ports)]
  const margin = Math.ceil((2 * (high - low)) / (ports.length - 1)) + 1
  return { from: Math.max(LOWEST_PORT, low - margin), to: Math.min(HIGHEST_PORT, high + margin) }
}
