import { namespaceFile, runScript } from './namespace.js'

/** What a script does in one namespace. */
interface Setup {
  /** Lines for `ip -batch`, in the order in which they make sense. */
  readonly devices: string[]
  readonly addresses: string[]
  readonly routes: string[]
  /** Values of /proc/sys/net, by path below it. */
  readonly sysctls: Map<string, string | number>
  readonly rulesets: string[]
}

/** Every router forwards, answers each expired packet with an ICMP error, and takes packets from anywhere. */
const ROUTER: Readonly<Record<string, number>> = {
  'ipv4/ip_forward': 1,
  'ipv6/conf/all/forwarding': 1,
  'ipv4/icmp_ratelimit': 0,
  'ipv4/icmp_msgs_per_sec': 1_000_000,
  'ipv4/icmp_msgs_burst': 1_000_000,
  'ipv6/icmp/ratelimit': 0,
}

/** The routing table for packets that are turned back. */
const TURNED_BACK = 100

/**
 * Namespaces, links and rules that are collected first and then built by one shell, for creating a dozen of
 * namespaces with a process for every step would take seconds.
 */
export class Network {
  readonly #creation: string[] = []
  readonly #setups = new Map<string, Setup>()

  /** A new namespace. */
  namespace(name: string): void {
    this.#creation.push(`netns add ${name}`)
    this.#setup(name).devices.push('link set lo up')
  }

  /** A cable between two namespaces, each end with an interface name of up to 15 characters. */
  link(a: string, interfaceA: string, b: string, interfaceB: string): void {
    this.#creation.push(`link add name ${interfaceA} netns ${a} type veth peer name ${interfaceB} netns ${b}`)
    this.#interface(a, interfaceA)
    this.#interface(b, interfaceB)
  }

  /** A switch in a namespace, to which `port` attaches interfaces. */
  bridge(name: string, device: string): void {
    // with snooping, neighbour discovery fails until a report of the group came, for a second or two
    this.#creation.push(`link add name ${device} netns ${name} type bridge forward_delay 0 mcast_snooping 0`)
    this.#interface(name, device)
  }

  port(name: string, bridge: string, device: string): void {
    this.#setup(name).devices.push(`link set dev ${device} master ${bridge}`)
  }

  /** An address with its prefix length; usable at once, without duplicate address detection. */
  address(name: string, device: string, address: string): void {
    const nodad = address.includes(':') ? ' nodad' : ''
    this.#setup(name).addresses.push(`addr add ${address} dev ${device}${nodad}`)
  }

  /** A route; `destination` may be `default`. */
  route(name: string, destination: string, via: string): void {
    this.#setup(name).routes.push(`route add ${destination} via ${via}`)
  }

  /** Packets from an interface to an address leave by `via`, though the address is the router's own. */
  turnBack(name: string, device: string, address: string, via: string): void {
    const { routes, sysctls } = this.#setup(name)
    if (!sysctls.has('ipv4/conf/wan/accept_local')) {
      routes.push(`rule add pref 20 lookup local`, `rule del pref 0`)
      routes.push(`route add default via ${via} table ${TURNED_BACK}`)
      sysctls.set('ipv4/conf/wan/accept_local', 1)
    }
    routes.push(`rule add pref 10 iif ${device} to ${address} ipproto udp lookup ${TURNED_BACK}`)
  }

  router(name: string): void {
    for (const [path, value] of Object.entries(ROUTER)) this.sysctl(name, path, value)
  }

  /** @param path below /proc/sys/net */
  sysctl(name: string, path: string, value: string | number): void {
    this.#setup(name).sysctls.set(path, value)
  }

  /** A ruleset for `nft -f`. */
  rules(name: string, ruleset: string): void {
    this.#setup(name).rulesets.push(ruleset)
  }

  /** Builds what was collected. @throws Error if a step fails */
  async build(): Promise<void> {
    const parts = [`ip -batch - <<'END'\n${this.#creation.join('\n')}\nEND\n`]
    for (const [name, { devices, addresses, routes, sysctls, rulesets }] of this.#setups) {
      // a file that this kernel does not have is one whose behaviour it does not have either
      const writes = [...sysctls].map(([path, value]) => `w ${value} /proc/sys/net/${path}\n`)
      parts.push(
        `nsenter --net=${namespaceFile(name)} sh -es <<'END_OF_NAMESPACE'\n`,
        'w() { [ ! -e "$2" ] || echo "$1" >"$2"; }\n',
        ...writes,
        `ip -batch - <<'END'\n${[...devices, ...addresses, ...routes].join('\n')}\nEND\n`,
        ...rulesets.map((rules) => `nft -f - <<'END'\n${rules}END\n`),
        'END_OF_NAMESPACE\n',
      )
    }
    await runScript(parts.join(''))
  }

  #interface(name: string, device: string): void {
    this.#setup(name).devices.push(`link set dev ${device} up`)
    // by the interface's own path: `default` does not reach an interface that exists
    this.sysctl(name, `ipv4/conf/${device}/rp_filter`, 0)
    this.sysctl(name, `ipv6/conf/${device}/accept_dad`, 0)
  }

  #setup(name: string): Setup {
    let setup = this.#setups.get(name)
    if (!setup) {
      setup = { devices: [], addresses: [], routes: [], sysctls: new Map(), rulesets: [] }
      this.#setups.set(name, setup)
    }
    return setup
  }
}
