import { PlexusError } from '../errors/index.js'
import { familyOf, isPublic } from '../net/index.js'
import { isOpen, isSymmetric, type NatHint, type Prospect, stepOf } from '../punch/index.js'

const ADVICE = 'Set up a port mapping on either side.'

/** The least range of eight ports that are beyond doubt given out at random. */
const SCATTERED = 2048

/**
 * Why no path between these two sides can exist, after the punch between them has failed; undefined if what is known
 * rules none out. Before a punch this is no reason not to try: a NAT may be other than it seems.
 */
export function verdict(own: Prospect, peer: Prospect): PlexusError | undefined {
  const families = new Set(own.candidates.map(({ endpoint }) => familyOf(endpoint)))
  if (
    peer.candidates.length > 0 &&
    !peer.candidates.some(({ endpoint }) => families.has(familyOf(endpoint)))
  ) {
    const [have, has] = families.has(6) ? ['IPv6', 'IPv4'] : ['IPv4', 'IPv6']
    return new PlexusError(
      'NO_PATH',
      `No path between these networks: this side only has ${have}, the peer only ${has}.`,
      { advice: 'Give one side an address of the other kind.' },
    )
  }
  if (hasOtherWay(own, peer)) return undefined
  if (isSymmetric(own.nat) && isSymmetric(peer.nat)) {
    return new PlexusError('NO_PATH', `No path between these networks: ${both(own.nat, peer.nat)}.`, {
      advice: ADVICE,
    })
  }
  return unsearched(own, peer)
}

/**
 * Whether a try of a few seconds that came to nothing is enough to say so: both sides have shown what their NATs do, and
 * nothing is left that could come late.
 */
export function isCertain(own: Prospect, peer: Prospect): boolean {
  if (!isSymmetric(own.nat) || !isSymmetric(peer.nat) || hasOtherWay(own, peer)) return false
  const shown = [own.nat, peer.nat].every(({ allocation, ports }) => {
    return allocation.kind === 'sequential' || (allocation.kind === 'random' && scattered(ports))
  })
  return shown && (stepOf(own.nat) === undefined || stepOf(peer.nat) === undefined) && !sameAddress(own, peer)
}

/** Ports that lie further apart than any sequence whose requests overtook each other; none at all where they are not told. */
function scattered(ports: readonly number[]): boolean {
  return ports.length === 0 || Math.max(...ports) - Math.min(...ports) >= SCATTERED
}

/** A path that needs neither NAT's help. */
function hasOtherWay(own: Prospect, peer: Prospect): boolean {
  return isOpen(own) || isOpen(peer) || (routable6(own) && routable6(peer))
}

function both(own: NatHint, peer: NatHint): string {
  const random = [own, peer].map(({ allocation }) => allocation.kind === 'random')
  if (random.every(Boolean)) return 'symmetric NAT with random ports on both sides'
  const where = random[0]
    ? ', with random ports on this one'
    : random[1]
      ? ', with random ports at the peer'
      : ''
  const foretold = stepOf(own) !== undefined && stepOf(peer) !== undefined
  return `symmetric NAT on both sides${where}${foretold ? ', and their ports could not be predicted' : ''}`
}

/** One symmetric NAT can be met by a search: why there was none. */
function unsearched(own: Prospect, peer: Prospect): PlexusError | undefined {
  const [mine, theirs] = [isSymmetric(own.nat), isSymmetric(peer.nat)]
  if (mine === theirs) return undefined
  const spreads = mine ? own : peer
  const seeks = mine ? peer : own
  if (spreads.sockets > 0 && seeks.seek) return undefined
  const nat = `symmetric NAT ${mine ? 'on this side' : 'at the peer'}`
  const [who, why] = !spreads.seek
    ? [spreads, 'does not search ports']
    : spreads.sockets === 0
      ? [spreads, 'has a fixed port or too few ports for a search']
      : [seeks, 'does not search ports']
  const side = who === own ? 'this side' : 'the peer'
  return new PlexusError('PUNCH_TIMEOUT', `No path was found: ${nat}, and ${side} ${why}.`, {
    advice: 'Leave out --no-search and a port in --stun-client, or widen --port-range to some hundred ports.',
  })
}

/** Both behind one NAT: what its inside makes possible, its outside does not tell. */
function sameAddress(own: Prospect, peer: Prospect): boolean {
  const outside = ({ candidates }: Prospect) =>
    candidates.flatMap(({ kind, endpoint }) => (kind === 'reflexive' ? [endpoint.address] : []))
  const theirs = new Set(outside(peer))
  return outside(own).some((address) => theirs.has(address))
}

function routable6({ candidates }: Prospect): boolean {
  return candidates.some(({ endpoint }) => familyOf(endpoint) === 6 && isPublic(endpoint.address))
}
