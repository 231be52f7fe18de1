import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { canonicalAddress, type Family, scopeOf } from './endpoint.js'

/** An address of this machine that a peer might reach. */
export interface OwnAddress {
  readonly address: string
  readonly family: Family
  readonly interface: string
  /** `virtual`: of a container, a virtual machine or a VPN. */
  readonly medium: 'real' | 'virtual'
}

/** How containers, virtual machines and VPNs call their interfaces, where nothing better tells them apart. */
const VIRTUAL =
  /^(docker|br-|veth|virbr|vmnet|vboxnet|vnet|lxc|lxd|cni|flannel|cali|cilium|podman|tun|tap|wg|tailscale|zt|utun|ppp-|nebula)/

/** Linux: a folder for each interface. */
const SYSFS = '/sys/class/net'

/** Linux: a line for each IPv6 address: address, index, prefix length, scope, flags, interface; all but the last in hex. */
const ADDRESSES_6 = '/proc/net/if_inet6'
/** Flags of an address, from linux/if_addr.h: it may not be used, or not for anything new. */
const UNUSABLE = 0x08 | 0x20 | 0x40
/** It is one of the changing ones that tell less of the machine (RFC 8981). */
const TEMPORARY = 0x01

/**
 * The own addresses, those of real interfaces before virtual ones, and temporary IPv6 addresses before lasting ones
 * (RFC 8445, section 5.1.1.1); loopback only when asked for, and link-local, deprecated and unproven ones never.
 */
export function ownAddresses(options: { loopback?: boolean } = {}): OwnAddress[] {
  const flags = flags6()
  const found: (OwnAddress & { readonly rank: number })[] = []
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    const medium = mediumOf(name)
    for (const { address, family } of addresses ?? []) {
      const scope = scopeOf(address.replace(/%.*/, ''))
      if (scope === 'unusable' || scope === 'link-local') continue
      if (scope === 'loopback' && !options.loopback) continue
      const own = canonicalAddress(address)
      const flag = flags.get(own) ?? 0
      if ((flag & UNUSABLE) !== 0) continue
      const rank = (medium === 'virtual' ? 2 : 0) + ((flag & TEMPORARY) === 0 ? 1 : 0)
      found.push({ address: own, family: family === 'IPv4' ? 4 : 6, interface: name, medium, rank })
    }
  }
  return found.sort((a, b) => a.rank - b.rank).map(({ rank: _, ...own }) => own)
}

/**
 * What stands behind an interface, by what the system knows of it, else by its name. A bridge is as real as what is
 * plugged into it: that of a router or of a server with virtual machines holds the machine's own address.
 */
export function mediumOf(name: string, sysfs = SYSFS): OwnAddress['medium'] {
  const folder = `${sysfs}/${name}`
  try {
    if (existsSync(`${folder}/device`)) return 'real'
    if (existsSync(`${folder}/tun_flags`)) return 'virtual'
    if (existsSync(`${folder}/bridge`)) {
      const ports = readdirSync(`${folder}/brif`)
      return ports.some((port) => existsSync(`${sysfs}/${port}/device`)) ? 'real' : 'virtual'
    }
  } catch {
    // it has gone meanwhile
  }
  return VIRTUAL.test(name) ? 'virtual' : 'real'
}

/** What Linux says of its IPv6 addresses; nothing elsewhere. */
function flags6(): Map<string, number> {
  try {
    return parseAddresses6(readFileSync(ADDRESSES_6, 'latin1'))
  } catch {
    return new Map()
  }
}

/** The flags in the text of /proc/net/if_inet6, by address. */
export function parseAddresses6(table: string): Map<string, number> {
  const flags = new Map<string, number>()
  for (const line of table.split('\n')) {
    const [, address, flag] = /^([0-9a-f]{32}) \S+ \S+ \S+ ([0-9a-f]+) /.exec(line) ?? []
    const groups = address?.match(/.{4}/g)
    if (groups && flag !== undefined) flags.set(canonicalAddress(groups.join(':')), Number.parseInt(flag, 16))
  }
  return flags
}
