import { PortRange, UdpPort } from '../net/index.js'
import type { PairingContext } from '../pairing/index.js'
import type { BindSettings } from './settings.js'

/** From where to punch, with the ports of a range as they are given out. */
export function bindOf({ address, port, ports }: BindSettings): PairingContext['bind'] {
  return {
    ...(address === undefined ? {} : { address }),
    ...(port === undefined ? {} : { port }),
    ...(ports === undefined ? {} : { range: new PortRange(ports.from, ports.to) }),
  }
}

/** Opens a port there. @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
export function openPort({ range, ...bind }: PairingContext['bind']): UdpPort {
  return range ? range.open(bind.address) : UdpPort.open(bind)
}

/** Whether the address is this machine's and a port free: found out before anything is sent. @throws as `openPort` */
export async function tryPort(bind: PairingContext['bind']): Promise<void> {
  await openPort(bind).close()
}
