import { execFileSync } from 'node:child_process'
import { addresses } from './addresses.js'
import type { Machine } from './machine.js'
import { namespaceFile, runScript } from './namespace.js'
import type { Side } from './side.js'

/** What happens to a host and its router while a program runs behind them. */

/** The numbers of the hosts in a side's LAN that nobody else has: the laboratory gives out the first ones. */
const SPARE_HOST = 100

/**
 * The provider gives the outermost NAT another public address: the old one is gone, and so is every mapping.
 * @param which 0 is the address that it had at first, 1 to 3 are others
 * @returns the new public address
 */
export async function renumberNat(side: Side, which: number): Promise<string> {
  const [nat] = side.nats
  if (!nat) throw new Error(`${side.name} has no NAT`)
  const { upper, lower, length } = side.access
  const address = nth(lower, which)
  await inside(
    nat,
    `old=$(ip -4 -o addr show dev wan | sed 's/.* inet \\([0-9.]*\\).*/\\1/')
ip addr flush dev wan scope global
ip addr add ${address}/${length} dev wan
ip route replace default via ${upper}
nft flush set ip nat permitted
nft flush map ip nat inside
{ echo 'flush ruleset'; nft list ruleset | sed "s/snat to $old:/snat to ${address}:/"; } >/tmp/rules.$$
nft -f /tmp/rules.$$
rm /tmp/rules.$$
conntrack -F 2>/dev/null`,
  )
  return address
}

/**
 * The host gets another address in its LAN, as from another DHCP server: its sockets stay, their old address does not.
 * @param which 0 is the address that it had at first
 */
export async function renumberHost(side: Side, which: number): Promise<string> {
  const { gateway, length, host } = addresses.lan(side.index)
  const address = which === 0 ? side.address : host(SPARE_HOST + which)
  const [nat] = side.nats.slice(-1)
  await inside(
    side,
    `ip addr flush dev eth0 scope global
ip addr add ${address}/${length} dev eth0
ip route replace default via ${gateway}`,
  )
  // a computed mapping would give the new address a port that still leads to the old one, which no router does
  if (nat) await inside(nat, 'nft flush map ip nat inside\nconntrack -F 2>/dev/null')
  return address
}

/** Pulls the plug of the host: its interface goes down, and its routes with it. */
export async function unplug(side: Side): Promise<void> {
  await inside(side, 'ip link set dev eth0 down')
}

/** Puts it back in, and does what a DHCP client then does. */
export async function plug(side: Side): Promise<void> {
  await inside(
    side,
    `ip link set dev eth0 up
ip route replace default via ${addresses.lan(side.index).gateway}`,
  )
}

/** A disk of so many bytes at a directory, for as long as `remove` has not been called. */
export function smallDisk(directory: string, bytes: number): { remove: () => void } {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'none', directory])
  return { remove: () => void execFileSync('umount', ['-l', directory]) }
}

/** The address `n` after another one in its block. */
function nth(address: string, n: number): string {
  return address.replace(/\d+$/, (last) => String(Number(last) + n))
}

async function inside(machine: Machine, script: string): Promise<void> {
  const file = namespaceFile(machine.namespace)
  await runScript(`nsenter --net=${file} sh -es <<'END_OF_NAMESPACE'\n${script}\nEND_OF_NAMESPACE\n`)
}
