import type { Logger } from '../net/index.js'
import type { OfferKind } from '../pairing/index.js'
import type { PortMapper } from '../portmap/index.js'
import { systemClock, systemRandom } from './clock.js'

/** Who maps ports on the router, if that may be offered. Whoever asks for it closes it. */
export async function portMapperFor(
  kinds: ReadonlySet<OfferKind>,
  log: Logger,
): Promise<PortMapper | undefined> {
  if (!kinds.has('mapped')) return undefined
  const { PortMapper } = await import('../portmap/index.js')
  return new PortMapper({ clock: systemClock, random: systemRandom, log })
}
