import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addressText } from '../../src/net/index.js'
import type { Nat, Side } from './side.js'

/** Where Debian's package miniupnpd-nftables puts it. */
const PROGRAM = '/usr/sbin/miniupnpd'

/** Why no router can run a port mapper here, for the `skip` of a test. */
export function portMapperUnavailable(): string | undefined {
  return existsSync(PROGRAM) ? undefined : 'a port mapper needs miniupnpd (package miniupnpd-nftables)'
}

const TABLE = 'upnp'
const CHAINS = { forward: 'mapped_through', nat: 'mapped_in', postrouting: 'mapped_out' } as const

/**
 * The chains that miniupnpd fills; they come before those of the NAT.
 * @param speaks with UPnP alone the port of the others is shut: miniupnpd answers there over IPv6 all the same
 * @param firewall6 nothing unasked comes in over IPv6 but through its pinholes (RFC 6092)
 */
export function portMapperRules(speaks: 'upnp' | 'nat-pmp' | 'both', firewall6: boolean): string {
  const through = `chain through { type filter hook forward priority filter
iifname "wan" meta nfproto ipv6 ct state established,related accept
jump ${CHAINS.forward}
iifname "wan" meta nfproto ipv6 drop
}
`
  const deaf = 'chain deaf { type filter hook input priority filter\nudp dport 5351 drop\n}\n'
  return `table inet ${TABLE} {
chain ${CHAINS.forward} { }
chain ${CHAINS.nat} { }
chain ${CHAINS.postrouting} { }
chain inbound { type nat hook prerouting priority dstnat - 1
jump ${CHAINS.nat}
}
chain outbound { type nat hook postrouting priority srcnat - 1
jump ${CHAINS.postrouting}
}
${firewall6 ? through : ''}${speaks === 'upnp' ? deaf : ''}}
`
}

/** A mapping that the router holds. */
export interface HeldMapping {
  readonly externalPort: number
  readonly internal: { readonly address: string; readonly port: number }
}

/** A miniupnpd on the innermost router of a side that was planned for one. */
export class PortMapper {
  readonly #nat: Nat
  readonly #stop: () => Promise<void>

  private constructor(nat: Nat, stop: () => Promise<void>) {
    this.#nat = nat
    this.#stop = stop
  }

  /** Starts it, and resolves when it listens. @throws Error with what it said when it ended */
  static async start(side: Side, speaks: 'upnp' | 'nat-pmp' | 'both'): Promise<PortMapper> {
    const nat = side.nats.at(-1)
    if (!nat) throw new Error(`${side.name} has no router`)
    const directory = await mkdtemp(join(tmpdir(), 'plexus-upnp-'))
    const file = join(directory, 'miniupnpd.conf')
    const lan = side.address.replace(/\d+$/, '0/24')
    await writeFile(
      file,
      [
        'ext_ifname=wan',
        'listening_ip=lan',
        `enable_upnp=${speaks === 'nat-pmp' ? 'no' : 'yes'}`,
        // PCP comes with NAT-PMP
        `enable_natpmp=${speaks === 'upnp' ? 'no' : 'yes'}`,
        `ipv6_disable=${side.address6 === undefined ? 'yes' : 'no'}`,
        'secure_mode=yes',
        'system_uptime=yes',
        // of a mapping without a wish; a short one may be wished for
        'min_lifetime=10',
        'max_lifetime=86400',
        `lease_file=${join(directory, 'leases')}`,
        `upnp_table_name=${TABLE}`,
        `upnp_nat_table_name=${TABLE}`,
        `upnp_forward_chain=${CHAINS.forward}`,
        `upnp_nat_chain=${CHAINS.nat}`,
        `upnp_nat_postrouting_chain=${CHAINS.postrouting}`,
        'uuid=cdd445cc-9a87-41a3-8399-26cdb751d737',
        `allow 1024-65535 ${lan} 1024-65535`,
        'deny 0-65535 0.0.0.0/0 0-65535',
        '',
      ].join('\n'),
    )
    await writeFile(join(directory, 'leases'), '')
    const child = nat.spawn(PROGRAM, ['-d', '-f', file, '-P', join(directory, 'pid')], { stdio: 'pipe' })
    let said = ''
    const listening = new Promise<void>((resolve, reject) => {
      const take = (data: Buffer) => {
        said += data.toString()
        if (/HTTP listening on port|Listening for NAT-PMP/.test(said)) resolve()
      }
      child.stdout?.on('data', take)
      child.stderr?.on('data', take)
      child.once('error', reject)
      child.once('close', (code) => reject(new Error(`miniupnpd ended with ${code}: ${said}`)))
    })
    const closed = once(child, 'close')
    const stop = async () => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, 'SIGTERM')
      await closed
      await rm(directory, { recursive: true, force: true })
    }
    await listening
    return new PortMapper(nat, stop)
  }

  /** What it holds now, as the router's rules have it. */
  async mappings(): Promise<HeldMapping[]> {
    const { stdout } = await this.#nat.exec('nft', ['-n', 'list', 'chain', 'inet', TABLE, CHAINS.nat])
    return [...stdout.matchAll(/dport (\d+) dnat (?:ip )?to ([\d.]+):(\d+)/g)].map(
      ([, outer, address = '', port]) => ({
        externalPort: Number(outer),
        internal: { address, port: Number(port) },
      }),
    )
  }

  /** The ports that packets from outside may reach over IPv6, as the router's rules have it. */
  async pinholes(): Promise<{ readonly address: string; readonly port: number }[]> {
    const { stdout } = await this.#nat.exec('nft', ['-n', 'list', 'chain', 'inet', TABLE, CHAINS.forward])
    // miniupnpd compares raw bits: 128 of them at 192 are the destination of an IPv6 packet
    return [...stdout.matchAll(/dport (\d+) @nh,192,128 0x([0-9a-f]+)/g)].map(([, port, bits = '']) => ({
      address: addressText(Buffer.from(bits.padStart(32, '0'), 'hex')),
      port: Number(port),
    }))
  }

  /** Ends it, as when the router starts anew; what it held is gone from the rules. */
  async stop(): Promise<void> {
    await this.#stop()
  }
}
