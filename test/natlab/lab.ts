import {
  MAX_SIDES,
  SERVER_ADDRESSES,
  SERVER_ADDRESSES_6,
  SERVER_GATEWAY,
  SERVER_GATEWAY_6,
} from './addresses.js'
import { labUnavailable } from './availability.js'
import { Capture } from './capture.js'
import { Machine } from './machine.js'
import {
  abandonedNamespaces,
  keep,
  namespaceFile,
  namespacesOf,
  removeNamespaces,
  runScript,
  uniquePrefix,
} from './namespace.js'
import { NATS } from './nat.js'
import { Network } from './network.js'
import { planCustomer, planNeighbour, planSide } from './plan.js'
import { PortMapper } from './port-mapper.js'
import type { Side, SideOptions, SideType } from './side.js'

/** The machine on the internet that runs the servers, each on an address of its own. */
export class Servers extends Machine {
  readonly addresses: readonly string[] = SERVER_ADDRESSES
  readonly addresses6: readonly string[] = SERVER_ADDRESSES_6
}

/**
 * A small internet of network namespaces with real NATs in it.
 *
 * ```
 *                          servers
 *                             │
 *   host ─ NAT ─ r4 … r1 ─── core ─── r1 … r4 ─ NAT ─ host
 * ```
 * What it made disappears with `close()`, or when the process ends in whatever way.
 */
export class Lab {
  readonly servers: Servers
  /** The router in the middle, on which paths between sides lose packets. */
  readonly core: Machine
  readonly #prefix: string
  readonly #release: () => Promise<void>
  readonly #sides = new Map<string, Side>()
  readonly #portMappers = new Map<Side, PortMapper>()
  readonly #captures = new Set<Capture>()
  #count = 0
  #closing: Promise<void> | undefined

  private constructor(prefix: string, release: () => Promise<void>) {
    this.#prefix = prefix
    this.#release = release
    this.servers = new Servers('servers', `${prefix}-servers`, 'eth0')
    this.core = new Machine('core', `${prefix}-core`, 'servers')
  }

  /**
   * Builds the core and the servers, and removes what processes that died left behind.
   * @throws Error if this machine cannot (see `labUnavailable`)
   */
  static async open(): Promise<Lab> {
    const reason = labUnavailable()
    if (reason !== undefined) throw new Error(reason)
    await removeNamespaces(abandonedNamespaces())
    const prefix = uniquePrefix()
    const lab = new Lab(prefix, keep(prefix))
    try {
      await lab.#build()
      return lab
    } catch (error) {
      await lab.close()
      throw error
    }
  }

  /** @param name 1 to 8 lower-case letters or digits */
  async side(name: string, type: SideType, options: SideOptions = {}): Promise<Side> {
    if (!/^[a-z0-9]{1,8}$/.test(name) || ['core', 'servers'].includes(name) || this.#sides.has(name))
      throw new Error(`'${name}' cannot name a side of this laboratory`)
    if (type !== 'public' && type !== 'double' && !(type in NATS))
      throw new Error(`'${type}' is no type of side`)
    if (this.#count === MAX_SIDES) throw new Error(`this laboratory has its ${MAX_SIDES} sides already`)
    const network = new Network()
    const namespace = `${this.#prefix}-${name}`
    const { sameLanAs, sameCarrierAs, portMapper } = options
    const numbered = () => ({ name, namespace, type, index: this.#count++ })
    const side = sameLanAs
      ? planNeighbour(network, { name, namespace, type }, sameLanAs)
      : sameCarrierAs
        ? planCustomer(network, numbered(), sameCarrierAs, options)
        : planSide(network, this.core, numbered(), options)
    this.#sides.set(name, side)
    await network.build()
    if (portMapper && !sameLanAs) this.#portMappers.set(side, await PortMapper.start(side, portMapper))
    return side
  }

  /** The port mapper of a side that was made with one. */
  portMapper(side: Side): PortMapper {
    const mapper = this.#portMappers.get(side)
    if (!mapper) throw new Error(`the router of ${side.name} runs no port mapper`)
    return mapper
  }

  /**
   * Loses packets at random on the paths between sides, in both directions.
   * @param percent 0 to 100, of each packet independently; 0 ends it
   * @param options.servers also between the sides and the servers; not by default
   */
  async loss(percent: number, options: { servers?: boolean } = {}): Promise<void> {
    const where = options.servers ? '' : 'iifname "side*" oifname "side*" '
    const share = Math.round(percent * 100)
    const random = share < 10_000 ? `numgen random mod 10000 < ${share} ` : ''
    const rule = share > 0 ? `add rule inet loss path ${where}${random}drop\n` : ''
    await this.#rules(this.core, `flush chain inet loss path\n${rule}`)
  }

  /** Makes every NAT forget its mappings, bans and connections, so that the next pairing starts afresh. */
  async flush(): Promise<void> {
    const nats = new Set([...this.#sides.values()].flatMap((side) => side.nats))
    await runScript([...nats].map((nat) => nat.flushScript).join(''))
  }

  /**
   * Records packets at the uplink of a machine; it listens when this resolves.
   * @param filter in the language of tcpdump, for example `udp port 40000`
   */
  async capture(machine: Machine, filter: string): Promise<Capture> {
    const capture = await Capture.start(machine, filter)
    this.#captures.add(capture)
    return capture
  }

  /** Kills what runs inside and removes every namespace. */
  close(): Promise<void> {
    this.#closing ??= this.#remove()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #remove(): Promise<void> {
    await Promise.all([...this.#captures].map((capture) => capture.stop()))
    await Promise.all([...this.#portMappers.values()].map((mapper) => mapper.stop()))
    await removeNamespaces(namespacesOf(this.#prefix))
    await this.#release()
  }

  async #build(): Promise<void> {
    const network = new Network()
    const core = this.core.namespace
    const servers = this.servers.namespace
    network.namespace(core)
    network.router(core)
    network.namespace(servers)
    network.link(core, 'servers', servers, 'eth0')
    network.address(core, 'servers', `${SERVER_GATEWAY}/24`)
    network.address(core, 'servers', `${SERVER_GATEWAY_6}/64`)
    for (const address of SERVER_ADDRESSES) network.address(servers, 'eth0', `${address}/24`)
    for (const address of SERVER_ADDRESSES_6) network.address(servers, 'eth0', `${address}/64`)
    network.route(servers, 'default', SERVER_GATEWAY)
    network.route(servers, 'default', SERVER_GATEWAY_6)
    network.rules(core, 'table inet loss {\nchain path { type filter hook forward priority filter; }\n}\n')
    await network.build()
  }

  async #rules(machine: Machine, rules: string): Promise<void> {
    await runScript(`nsenter --net=${namespaceFile(machine.namespace)} nft -f - <<'END'\n${rules}END\n`)
  }
}
