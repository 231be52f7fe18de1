import { networkInterfaces } from 'node:os'
import { canonicalAddress, type Family, scopeOf } from './endpoint.js'

/** An address of this machine that a peer might reach. */
export interface OwnAddress {
  readonly address: string
  readonly family: Family
  /** The name of the interface, for telling containers, virtual machines and VPNs from the real ones. */
  readonly interface: string
}

/** Interfaces of containers, virtual machines and VPNs: their addresses come last. */
const VIRTUAL =
  /^(docker|br-|veth|virbr|vmnet|vboxnet|lxc|lxd|cni|flannel|cali|podman|tun|tap|wg|tailscale|zt|utun)/

/** The own addresses, real interfaces before virtual ones; loopback and link-local ones only when asked for. */
export function ownAddresses(options: { loopback?: boolean } = {}): OwnAddress[] {
  const found: OwnAddress[] = []
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const { address, family } of addresses ?? []) {
      const scope = scopeOf(address.replace(/%.*/, ''))
      if (scope === 'unusable' || scope === 'link-local') continue
      if (scope === 'loopback' && !options.loopback) continue
      found.push({ address: canonicalAddress(address), family: family === 'IPv4' ? 4 : 6, interface: name })
    }
  }
  return found.sort((a, b) => Number(VIRTUAL.test(a.interface)) - Number(VIRTUAL.test(b.interface)))
}
