import { PlexusError } from '../errors/index.js'
import { familyOf, scopeOf } from '../net/index.js'
import type { Candidate } from '../punch/index.js'
import type { MappingHint } from './message.js'

/** One side of a punch that failed, as far as it is known: what it offered, and later updates. */
export interface Prospects {
  readonly candidates: readonly Candidate[]
  readonly mapping: MappingHint
}

/**
 * Why no path between these two sides can exist, after the punch between them has failed; undefined if what is known
 * rules none out. Before a punch this is no reason not to try: a NAT may be other than it seems.
 */
export function verdict(own: Prospects, peer: Prospects): PlexusError | undefined {
  const families = new Set(own.candidates.map(({ endpoint }) => familyOf(endpoint)))
  if (
    peer.candidates.length > 0 &&
    !peer.candidates.some(({ endpoint }) => families.has(familyOf(endpoint)))
  ) {
    const [have, has] = families.has(6) ? ['IPv6', 'IPv4'] : ['IPv4', 'IPv6']
    return new PlexusError(
      'NO_PATH',
      `No path between these networks: this side has ${have} alone, the peer ${has} alone.`,
      { advice: 'Give one of the sides an address of the other kind.' },
    )
  }
  if (own.mapping !== 'address-dependent' || peer.mapping !== 'address-dependent') return undefined
  if (open(own) || open(peer) || (routable6(own) && routable6(peer))) return undefined
  return new PlexusError('NO_PATH', 'No path between these networks: symmetric NAT on both sides.', {
    advice: 'A relay or a port mapping on either one would do.',
  })
}

/** The side can be reached without the help of its NAT. */
function open({ candidates }: Prospects): boolean {
  return candidates.some(
    ({ kind, endpoint }) =>
      kind === 'relayed' ||
      // a mapping at an address that is not public is one behind yet another NAT
      ((kind === 'mapped' || kind === 'host') &&
        familyOf(endpoint) === 4 &&
        scopeOf(endpoint.address) === 'global'),
  )
}

function routable6({ candidates }: Prospects): boolean {
  return candidates.some(({ endpoint }) => familyOf(endpoint) === 6 && scopeOf(endpoint.address) === 'global')
}
