import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** The programs that build, watch and empty a NAT, and the Debian package of each. */
const PROGRAMS = {
  ip: 'iproute2',
  nft: 'nftables',
  conntrack: 'conntrack',
  tcpdump: 'tcpdump',
  nsenter: 'util-linux',
} as const

/** One rule of each kind that the laboratory uses, so that a kernel without one of them is known beforehand. */
const RULES = `table ip trial {
  map inside { type ipv4_addr . inet_service : ipv4_addr; size 16; flags dynamic,timeout; timeout 1s; }
  map assigned { type ipv4_addr . ipv4_addr . inet_service : inet_service; size 16; flags dynamic,timeout; timeout 1s; }
  set permitted { type ipv4_addr . inet_service; size 16; flags dynamic,timeout; timeout 1s; }
  chain in { type nat hook prerouting priority dstnat
    iifname "wan" meta l4proto udp dnat to ip daddr . udp dport map @inside : udp dport ^ 0x101
  }
  chain out { type nat hook postrouting priority srcnat
    oifname "wan" meta l4proto udp snat to 192.0.2.1 : ip saddr . ip daddr . udp sport map @assigned
    oifname "wan" meta l4proto udp snat to jhash ip saddr . udp sport mod 2 map { 0 : 192.0.2.1, 1 : 192.0.2.2 } : udp sport ^ 0x101
    oifname "wan" meta l4proto udp masquerade random,fully-random
  }
  chain record { type filter hook postrouting priority srcnat + 10
    update @permitted { ip daddr . udp sport }
    update @inside { ip saddr . udp sport : ct original ip saddr }
    meta l4proto udp update @assigned { ct original ip saddr . ip daddr . ct original proto-src : udp sport }
    numgen random mod 100 < 1 drop
  }
}
`

let verdict: { reason: string | undefined } | undefined

/**
 * Why no laboratory can be opened here, as one sentence, or undefined if it can. Finds out once, by building a
 * namespace with a rule of every kind in it. For `test(name, { skip: labUnavailable() }, …)`.
 */
export function labUnavailable(): string | undefined {
  verdict ??= { reason: findReason() }
  return verdict.reason
}

function findReason(): string | undefined {
  if (process.platform !== 'linux') return 'the NAT laboratory needs Linux'
  if (process.getuid?.() !== 0) return 'the NAT laboratory needs root for network namespaces'
  const folders = (process.env.PATH ?? '').split(':')
  for (const [program, name] of Object.entries(PROGRAMS)) {
    if (!folders.some((folder) => existsSync(`${folder}/${program}`)))
      return `the NAT laboratory needs ${program} (package ${name})`
  }
  const { status, stderr } = spawnSync(
    'unshare',
    [
      '--net',
      'sh',
      '-ec',
      'ip link add wan type veth peer name lan; ip link add name switch type bridge; nft -f -',
    ],
    { input: RULES, encoding: 'utf8' },
  )
  if (status === 0) return undefined
  const why = (stderr ?? '').trim().split('\n')[0] ?? ''
  return `this kernel or container cannot build a NAT: ${why === '' ? 'no namespace' : why}`
}
