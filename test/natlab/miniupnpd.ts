import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { addresses } from './addresses.js'
import type { Lab } from './lab.js'
import { Machine } from './machine.js'
import { PROVIDER_ROUTERS } from './provider.js'
import type { Nat, Side } from './side.js'

const PROGRAM = '/usr/sbin/miniupnpd'

/** Why no router of the laboratory can be asked for port mappings; undefined if it can. */
export function miniupnpdUnavailable(): string | undefined {
  return existsSync(PROGRAM) ? undefined : 'miniupnpd is not installed'
}

/** The NATs whose filtering is conntrack's own: the rules of the others would stand before a port mapping. */
const SUITABLE = ['symmetric', 'symmetric-sequential', 'open-router']

/** How long anything may take that has to happen, in ms. */
const PATIENCE = 10_000

/** A table for miniupnpd, whose chains come beside those of the NAT. */
const TABLE = `table inet miniupnpd {
  chain forward { type filter hook forward priority filter; }
  chain prerouting { type nat hook prerouting priority dstnat; }
  chain postrouting { type nat hook postrouting priority srcnat - 10; }
}
`

/** A mapping that a router holds. */
export interface HeldMapping {
  readonly external: number
  readonly internal: string
}

/** miniupnpd on a NAT of the laboratory: what home routers run, with UPnP, NAT-PMP and PCP. */
export class Miniupnpd {
  readonly #nat: Nat
  readonly #directory: string
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #log = ''

  private constructor(nat: Nat, directory: string, child: ChildProcess) {
    this.#nat = nat
    this.#directory = directory
    this.#child = child
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()))
    for (const output of [child.stdout, child.stderr]) {
      output?.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text
      })
    }
  }

  /**
   * Starts it, and waits until it serves.
   * @param options which protocols it speaks; `version` is that of the UPnP device, 1 as most routers or 2
   */
  static async start(
    lab: Lab,
    side: Side,
    options: { readonly upnp: boolean; readonly natPmp: boolean; readonly version?: 1 | 2 },
  ): Promise<Miniupnpd> {
    const [nat] = side.nats
    if (nat === undefined || side.nats.length > 1) throw new Error(`${side.name} has no NAT of its own`)
    if (!SUITABLE.includes(nat.type)) throw new Error(`a ${nat.type} NAT lets no port mapping through`)
    const directory = await mkdtemp(join(tmpdir(), 'plexus-miniupnpd-'))
    const config = join(directory, 'miniupnpd.conf')
    const yes = (value: boolean) => (value ? 'yes' : 'no')
    const address = await addAddress(lab, side, nat)
    await writeFile(
      config,
      `${[
        'ext_ifname=wan',
        `ext_ip=${address}`,
        'listening_ip=lan',
        'ipv6_disable=yes',
        `enable_natpmp=${yes(options.natPmp)}`,
        `enable_upnp=${yes(options.upnp)}`,
        `force_igd_desc_v1=${yes(options.version !== 2)}`,
        'min_lifetime=120',
        'max_lifetime=86400',
        'secure_mode=yes',
        'upnp_table_name=miniupnpd',
        'upnp_nat_table_name=miniupnpd',
        'upnp_forward_chain=forward',
        'upnp_nat_chain=prerouting',
        'upnp_nat_postrouting_chain=postrouting',
        'uuid=5b51b4ba-3e5a-4d35-9d0f-0f3b3b0a5f00',
        'allow 1024-65535 0.0.0.0/0 1024-65535',
      ].join('\n')}\n`,
    )
    // what comes in unasked is judged by conntrack, after the mappings
    const rules = `${nat.type === 'open-router' ? '' : 'flush chain ip nat unasked\n'}${TABLE}`
    const { status, stderr } = await nat.exec('nft', ['-f', '-'], { input: rules })
    if (status !== 0) throw new Error(`the table of miniupnpd cannot be made: ${stderr}`)
    const args = ['-d', '-f', config, '-P', join(directory, 'pid')]
    const child = nat.spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const made = new Miniupnpd(nat, directory, child)
    await made.#serving(options.upnp ? 1900 : 5351)
    return made
  }

  /** What it maps now. */
  async mappings(): Promise<HeldMapping[]> {
    const { stdout } = await this.#nat.exec('nft', ['list', 'chain', 'inet', 'miniupnpd', 'prerouting'])
    return [...stdout.matchAll(/dport (\d+)\b.*dnat(?: ip)? to (\S+)/g)].map(
      ([, external, internal = '']) => ({
        external: Number(external),
        internal,
      }),
    )
  }

  /** What it has said, for the message of a failure. */
  get log(): string {
    return this.#log
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#ended
    await rm(this.#directory, { recursive: true, force: true })
  }

  async #serving(port: number): Promise<void> {
    const signal = AbortSignal.timeout(PATIENCE)
    for (;;) {
      const { stdout } = await this.#nat.exec('ss', ['-Hlun', `sport = :${port}`])
      if (stdout.trim() !== '') return
      if (signal.aborted || this.#child.exitCode !== null)
        throw new Error(`miniupnpd does not serve:\n${this.#log}`)
      await setTimeout(20)
    }
  }
}

/**
 * Gives a NAT a second public address: miniupnpd takes those of the laboratory, from blocks that nobody routes, for
 * private ones. 192.0.1.0/24 is not routed either, but not in its list.
 */
async function addAddress(lab: Lab, side: Side, nat: Nat): Promise<string> {
  const address = `192.0.1.${side.index + 1}`
  await run(nat, ['addr', 'add', `${address}/32`, 'dev', 'wan'])
  for (let step = 0; step <= PROVIDER_ROUTERS; step++) {
    const name = `${side.namespace}-r${step}`
    const router = step === 0 ? lab.core : new Machine(name, name, 'uplink')
    const last = step === PROVIDER_ROUTERS
    const next = last ? addresses.access(side.index).lower : addresses.core(side.index, step).lower
    await run(router, ['route', 'add', `${address}/32`, 'via', next])
  }
  return address
}

async function run(machine: Machine, words: readonly string[]): Promise<void> {
  const { status, stderr } = await machine.exec('ip', words)
  if (status !== 0) throw new Error(`ip ${words.join(' ')} on ${machine.name}: ${stderr}`)
}
