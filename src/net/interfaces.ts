import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { canonicalAddress, type Family, scopeOf } from './endpoint.js'

/** An address of this machine that a peer might reach. */
export interface OwnAddress {
  readonly address: string
  readonly family: Family
  readonly interface: string
  /** `virtual`: of a container, a virtual machine or a VPN. */
  readonly medium: 'real' | 'virtual'
}

/**
 * How containers, virtual machines and VPNs call their interfaces: where the system does not say what they are, and for
 * pairs of virtual Ethernet, whose end on the host looks like the one in the container.
 */
const VIRTUAL =
  /^(docker|br-|veth|virbr|vmnet|vboxnet|vnet|lxc|lxd|cni|flannel|cali|cilium|podman|tun|tap|wg|tailscale|zt|utun|ppp-|nebula)/

/** Types of linux/if_arp.h that are networks of their own, whatever carries them: Ethernet and PPP, as of a modem or of DSL. */
const ETHERNET = 1
const PPP = 512

/** Linux: a folder for each interface. */
const SYSFS = '/sys/class/net'

/** Linux: a line for each IPv6 address: address, index, prefix length, scope, flags, interface; all but the last in hex. */
const ADDRESSES_6 = '/proc/net/if_inet6'
/** Linux: the routing table for IPv4 as a tree, with this machine's addresses as leaves. */
const LOCALS_4 = '/proc/net/fib_trie'
/** Flags of an address, from linux/if_addr.h: it may not be used, or not for anything new. */
const UNUSABLE = 0x08 | 0x20 | 0x40
/** It is one of the changing ones that tell less of the machine (RFC 8981). */
const TEMPORARY = 0x01

/**
 * This machine's addresses, those of real interfaces before virtual ones, and temporary IPv6 addresses before lasting ones
 * (RFC 8445, section 5.1.1.1); loopback only when asked for, and link-local, deprecated and unproven ones never.
 */
export function ownAddresses(options: { loopback?: boolean } = {}): OwnAddress[] {
  const flags = flags6()
  const found: (OwnAddress & { readonly rank: number })[] = []
  for (const [name, addresses] of addressesByInterface()) {
    const medium = name === '' ? 'real' : mediumOf(name)
    for (const { address, family } of addresses) {
      const scope = scopeOf(address.replace(/%.*/, ''))
      if (scope === 'unusable' || scope === 'link-local') continue
      if (scope === 'loopback' && !options.loopback) continue
      const own = canonicalAddress(address)
      const flag = flags.get(own) ?? 0
      if ((flag & UNUSABLE) !== 0) continue
      const rank = (medium === 'virtual' ? 2 : 0) + ((flag & TEMPORARY) === 0 ? 1 : 0)
      found.push({ address: own, family, interface: name, medium, rank })
    }
  }
  return found.sort((a, b) => a.rank - b.rank).map(({ rank: _, ...own }) => own)
}

/**
 * Why the system does not list its interfaces, as a code; undefined when it does. Sandboxes and Android keep the list from
 * programs, and node throws.
 */
export function interfacesRefused(): string | undefined {
  try {
    networkInterfaces()
    return undefined
  } catch (thrown) {
    return refusalOf(thrown)
  }
}

function refusalOf(thrown: unknown): string {
  const { errno, code } = thrown as { errno?: unknown; code?: unknown }
  try {
    // libuv has the number with either sign
    return getSystemErrorName(-Math.abs(Number(errno)))
  } catch {
    return String(code ?? thrown)
  }
}

type Address = { readonly address: string; readonly family: Family }

/** The addresses of each interface; where the system does not list them those of its routing tables, on Linux. */
function addressesByInterface(): (readonly [string, readonly Address[]])[] {
  try {
    return Object.entries(networkInterfaces()).map(([name, addresses = []]) => [
      name,
      addresses.map(({ address, family }) => ({ address, family: family === 'IPv4' ? 4 : 6 })),
    ])
  } catch {
    const four = parseLocals4(textOf(LOCALS_4)).map((address) => ({ address, family: 4 as const }))
    const six = [...flags6().keys()].map((address) => ({ address, family: 6 as const }))
    return [['', [...four, ...six]]]
  }
}

/** This machine's addresses in the text of /proc/net/fib_trie: a leaf `|-- 192.0.2.1`, then what it is for. */
export function parseLocals4(table: string): string[] {
  const leaves = table.matchAll(/\|-- (\d+\.\d+\.\d+\.\d+)\n\s*\/32 host LOCAL/g)
  return [...new Set([...leaves].map(([, address]) => address as string))]
}

/**
 * What stands behind an interface, as the system knows it: its name says nothing. Real is what has hardware of its own or
 * stands on something that has (a VLAN, a bond, the bridge of a router or of a server with virtual machines), and what
 * leads into another network namespace, as the Ethernet of a container does. Every kind of tunnel is virtual (WireGuard,
 * GRE, VXLAN, TUN, …), and so is a dummy. Where the system says nothing the name has to do.
 */
export function mediumOf(name: string, sysfs = SYSFS): OwnAddress['medium'] {
  const folder = `${sysfs}/${name}`
  if (!existsSync(folder)) return VIRTUAL.test(name) ? 'virtual' : 'real'
  try {
    if (hasHardware(name, sysfs)) return 'real'
    if (existsSync(`${folder}/tun_flags`) || existsSync(`${folder}/bridge`)) return 'virtual'
    if (lowersOf(folder).length > 0) return 'virtual'
    const type = Number(textOf(`${folder}/type`) || Number.NaN)
    if (Number.isNaN(type) || type === PPP) return VIRTUAL.test(name) ? 'virtual' : 'real'
    if (type !== ETHERNET || /^DEVTYPE=/m.test(textOf(`${folder}/uevent`))) return 'virtual'
    // Ethernet without hardware: its other end, or what it stands on, is in another namespace, or it is a dummy
    const [index, link] = [textOf(`${folder}/ifindex`), textOf(`${folder}/iflink`)].map(Number)
    return link === 0 || link === index || VIRTUAL.test(name) ? 'virtual' : 'real'
  } catch {
    // it has gone meanwhile
    return 'virtual'
  }
}

/** How deep interfaces stand on each other: a VLAN on a bridge on a bond. */
const DEEPEST = 5

/** Whether a device belongs to an interface, or to one that it stands on. */
function hasHardware(name: string, sysfs: string, depth = 0): boolean {
  const folder = `${sysfs}/${name}`
  if (existsSync(`${folder}/device`)) return true
  if (depth === DEEPEST || existsSync(`${folder}/tun_flags`)) return false
  // a tunnel stands on hardware too, but leads elsewhere
  if (/^DEVTYPE=(wireguard|vxlan|geneve|gre|bareudp|gtp|vrf)/m.test(textOf(`${folder}/uevent`))) return false
  return lowersOf(folder).some((lower) => hasHardware(lower, sysfs, depth + 1))
}

/** The interfaces that one stands on, the ports of a bridge among them. */
function lowersOf(folder: string): string[] {
  const lowers = readdirSync(folder).flatMap((entry) => /^lower_(.+)$/.exec(entry)?.[1] ?? [])
  return existsSync(`${folder}/brif`) ? [...lowers, ...readdirSync(`${folder}/brif`)] : lowers
}

/** The text of a file, nothing if there is none. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1').trim()
  } catch {
    return ''
  }
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
