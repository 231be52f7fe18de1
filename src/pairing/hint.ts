import type { Filtering, Mapping, NatBehaviour, PortAllocation } from '../net/index.js'
import { MAX_PORTS, type NatHint } from '../punch/index.js'

const DEPENDENCES: readonly Mapping[] = [
  'endpoint-independent',
  'address-dependent',
  'address-and-port-dependent',
]
const POOLINGS: readonly NatBehaviour['pooling'][] = ['paired', 'arbitrary']

/** `sequential <step>`; a step further than this is none. */
const SEQUENTIAL = /^sequential (-?[1-9]\d{0,3})$/

/** What is known of a NAT as it stands in an offer: what is not known is left out. */
export function encodeHint(hint: NatHint): object {
  const { mapping, filtering, allocation, pooling, ports } = hint
  const known = { mapping, filtering, allocation: allocationText(allocation), pooling }
  const fields = Object.entries(known).filter(([, word]) => word !== 'unknown')
  return { ...Object.fromEntries(fields), ...(ports.length > 0 ? { ports } : {}) }
}

/** Reads it. A word that is not known, now or at all, is `unknown`: a hint is no reason to drop a message. */
export function decodeHint(value: unknown): NatHint {
  const fields = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  return {
    mapping: dependence(fields.mapping),
    filtering: dependence(fields.filtering),
    allocation: decodeAllocation(fields.allocation),
    pooling: POOLINGS.find((word) => word === fields.pooling) ?? 'unknown',
    ports: decodePorts(fields.ports),
  }
}

function dependence(value: unknown): Mapping & Filtering {
  return DEPENDENCES.find((word) => word === value) ?? 'unknown'
}

function allocationText(allocation: PortAllocation): string {
  return allocation.kind === 'sequential' ? `sequential ${allocation.step}` : allocation.kind
}

function decodeAllocation(value: unknown): PortAllocation {
  if (value === 'preserved' || value === 'random') return { kind: value }
  const step = typeof value === 'string' ? SEQUENTIAL.exec(value)?.[1] : undefined
  return step === undefined ? { kind: 'unknown' } : { kind: 'sequential', step: Number(step) }
}

/** Half a list could show another pattern: it is taken whole or not at all. */
function decodePorts(value: unknown): number[] {
  if (!Array.isArray(value) || value.length > MAX_PORTS) return []
  const ports: unknown[] = value
  return ports.every(isPort) ? ports : []
}

function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535
}
