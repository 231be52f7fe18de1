import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Lab, Side } from './index.js'
import type { Outcome, PairingRig } from './pairing-rig.js'

/** Two sides that stand in a special relation to each other, and the path that they have to take. */
export interface Neighbourhood {
  readonly name: string
  /** Makes the sides. @param name begins the names of both: 1 to 6 letters or digits */
  readonly build: (lab: Lab, name: string) => Promise<{ from: Side; to: Side }>
  /** How they meet: over the DHT, which is IPv4 alone, or in a directory. */
  readonly meets: 'dht' | 'directory'
  /** The kinds of path that are right; the accepter's endpoint on it is one of its addresses that `at` gives. */
  readonly kinds: readonly string[]
  readonly at: (to: Side) => readonly (string | undefined)[]
}

const AGENT = fileURLToPath(new URL('nat-pmp-agent.js', import.meta.url))

/** The addresses of routers at home inside their carriers' networks, by side. */
const routers = new WeakMap<Side, string>()
const routerOf = (side: Side) => routers.get(side)

/** Lets the router at home of a side map ports by NAT-PMP, at its address inside the carrier's network. */
async function mapPorts(side: Side): Promise<void> {
  const router = side.nats.at(-1)
  const addressOn = async (device: string) => {
    const shown = await router?.exec('ip', ['-4', '-o', 'addr', 'show', 'dev', device])
    return /inet ([\d.]+)/.exec(shown?.stdout ?? '')?.[1] ?? ''
  }
  const outside = await addressOn('wan')
  routers.set(side, outside)
  const words = [AGENT, await addressOn('lan'), outside]
  // closing the laboratory ends it
  const child = router?.spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  if (!child?.stdout) throw new Error(`${side.name} has no router`)
  const ended = once(child, 'close').then(() => Promise.reject(new Error('the router maps no ports')))
  ended.catch(() => {})
  await Promise.race([once(child.stdout, 'data'), ended])
}

const own = (to: Side) => [to.address, to.address6]
const outside = (to: Side) => [to.publicAddress]

export const NEIGHBOURHOODS: readonly Neighbourhood[] = [
  {
    name: 'same NAT without hairpinning',
    build: async (lab, name) => {
      const from = await lab.side(`${name}a`, 'port-restricted')
      return { from, to: await lab.side(`${name}b`, 'port-restricted', { sameLanAs: from }) }
    },
    meets: 'dht',
    kinds: ['host'],
    at: own,
  },
  {
    name: 'same carrier NAT, which hairpins',
    build: async (lab, name) => {
      const from = await lab.side(`${name}a`, 'double', { hairpin: true })
      return { from, to: await lab.side(`${name}b`, 'double', { sameCarrierAs: from }) }
    },
    meets: 'dht',
    kinds: ['reflexive'],
    at: outside,
  },
  {
    name: 'same carrier NAT without hairpinning, one router maps ports',
    build: async (lab, name) => {
      const from = await lab.side(`${name}a`, 'double')
      const to = await lab.side(`${name}b`, 'double', { sameCarrierAs: from, home: 'open-router' })
      await mapPorts(to)
      return { from, to }
    },
    meets: 'dht',
    kinds: ['mapped'],
    at: (to) => [routerOf(to)],
  },
  {
    name: 'same host',
    build: async (lab, name) => {
      const side = await lab.side(`${name}a`, 'symmetric')
      return { from: side, to: side }
    },
    meets: 'dht',
    kinds: ['host'],
    at: own,
  },
  {
    name: 'IPv6 only',
    build: async (lab, name) => ({
      from: await lab.side(`${name}a`, 'port-restricted', { ipv6: 'only' }),
      to: await lab.side(`${name}b`, 'port-restricted', { ipv6: 'only' }),
    }),
    meets: 'directory',
    kinds: ['host'],
    at: (to) => [to.address6],
  },
  {
    name: 'IPv6 only, a stateful firewall on both ends',
    build: async (lab, name) => ({
      from: await lab.side(`${name}a`, 'port-restricted', { ipv6: 'only-firewall' }),
      to: await lab.side(`${name}b`, 'port-restricted', { ipv6: 'only-firewall' }),
    }),
    meets: 'directory',
    kinds: ['host'],
    at: (to) => [to.address6],
  },
  {
    name: 'dual stack, IPv6 behind a stateful firewall',
    build: async (lab, name) => ({
      from: await lab.side(`${name}a`, 'symmetric', { ipv6: 'firewall' }),
      to: await lab.side(`${name}b`, 'symmetric', { ipv6: 'firewall' }),
    }),
    meets: 'dht',
    kinds: ['host'],
    at: (to) => [to.address6],
  },
  {
    name: 'dual stack, IPv6 without a filter',
    build: async (lab, name) => ({
      from: await lab.side(`${name}a`, 'port-restricted', { ipv6: true }),
      to: await lab.side(`${name}b`, 'port-restricted', { ipv6: true }),
    }),
    meets: 'dht',
    kinds: ['host'],
    at: (to) => [to.address6],
  },
]

/** The flags of both sides, beyond those of the rig. */
export function flagsOf({ meets }: Neighbourhood, rig: PairingRig): string[] {
  if (meets === 'dht') return [`--stun-server=${rig.stunServer}`, `--stun-server=${rig.stunServer6}`]
  return [`--rendezvous=dir:${rig.directory}/meeting`, `--stun-server=${rig.stunServer6}`]
}

/** Why an outcome is not as it has to be; undefined if it is. */
export function complaint({ kinds, at }: Neighbourhood, to: Side, outcome: Outcome): string | undefined {
  if (!outcome.paired) return `no pairing\n${outcome.story}`
  const path = pathOf(outcome)
  if (path && kinds.includes(path.kind) && at(to).includes(path.address)) return undefined
  return `the path is ${path?.kind} ${path?.address}\n${outcome.story}`
}

/** The path that the inviter found: its kind, and the address of the accepter on it. */
export function pathOf({ story }: Outcome): { kind: string; address: string } | undefined {
  const [, address = '', kind] = /punched in \d+ ms: \S+ to (\S+):\d+ \(([\w-]+)\)/.exec(story) ?? []
  return kind === undefined ? undefined : { kind, address: address.replace(/^\[|\]$/g, '') }
}
