import { type Family, sameEndpoint } from '../net/index.js'
import type { Reflexive } from './survey.js'

/**
 * How a NAT maps one port towards several destinations (RFC 4787 section 4.1). `symmetric` is address-dependent or
 * address-and-port-dependent; which of the two needs a server with two addresses (RFC 5780).
 */
export type MappingBehaviour = 'endpoint-independent' | 'symmetric' | 'unknown'

/**
 * Compares what servers said of one port: the same to two servers on different addresses means an
 * endpoint-independent mapping, different endpoints a symmetric one. A hint, never a gate: a NAT may behave
 * otherwise a moment later.
 * @param answers of one port, not much older than each other
 */
export function compareMappings(answers: readonly Reflexive[], base: Family): MappingBehaviour {
  const [first, ...others] = answers.filter((answer) => answer.base === base)
  if (!first) return 'unknown'
  if (others.some((other) => !sameEndpoint(other.endpoint, first.endpoint))) return 'symmetric'
  // two ports of one server tell nothing of another address
  const elsewhere = others.some((other) => other.server.address !== first.server.address)
  return elsewhere ? 'endpoint-independent' : 'unknown'
}
