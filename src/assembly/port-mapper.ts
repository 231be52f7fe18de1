import type { PortMapper } from '../portmap/index.js'
import type { Outside } from './outside.js'
import type { NetworkSettings } from './settings.js'

/** Who maps ports on the router, if that may be offered: loaded when it is wanted. Whoever asks for it closes it. */
export async function portMapperFor(
  { kinds }: Pick<NetworkSettings, 'kinds'>,
  { clock, random, log }: Outside,
): Promise<PortMapper | undefined> {
  if (!kinds.includes('mapped')) return undefined
  const { PortMapper } = await import('../portmap/index.js')
  return new PortMapper({ clock, random, log })
}
