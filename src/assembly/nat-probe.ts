import { asPlexusError } from '../errors/index.js'
import type { PortMappingFinding } from '../nat/index.js'
import { silent, UdpPort } from '../net/index.js'
import type { Outside } from './outside.js'

/**
 * Whether the router maps ports: asks it for one, and gives that back at once.
 * @param address the local address that pairings are bound to, if to one
 */
export async function probePortMapping(
  address: string | undefined,
  { clock, random, log }: Outside,
  signal: AbortSignal,
): Promise<PortMappingFinding> {
  const { PortMapper } = await import('../portmap/index.js')
  const mapper = new PortMapper({ clock, random, log: silent })
  const port = UdpPort.open({ address: address ?? '0.0.0.0' })
  try {
    const local = port.local(4)
    if (!local) return { is: 'unavailable', why: 'port mappings are for IPv4 only' }
    const mapping = mapper.map(local.port, address === undefined ? {} : { address })
    await Promise.race([mapping.asked, aborted(signal)])
    const { external } = mapping
    if (external) return { is: 'available', external }
    return { is: 'unavailable', why: 'no router answered' }
  } catch (thrown) {
    log.debug({ why: asPlexusError(thrown).message }, 'the router was not asked for a port mapping')
    return { is: 'unavailable', why: 'the router could not be asked' }
  } finally {
    await port.close()
    await mapper.close()
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
