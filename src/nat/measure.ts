import { PlexusError } from '../errors/index.js'
import {
  type Clock,
  deadline,
  type Endpoint,
  earliest,
  type Family,
  type Logger,
  ownAddresses,
  type Random,
  scopeOf,
  sleep,
  sourceAddress,
  UdpPort,
} from '../net/index.js'
import {
  addressesOf,
  encode,
  lookupAll,
  parseServer,
  type Resolve,
  reachable,
  TRANSACTION_ID_LENGTH,
} from '../stun/index.js'
import { carrierOf } from './carrier.js'
import { Discovery } from './discovery.js'
import { refusesUdp } from './refusal.js'
import type { NatReport, PortMappingFinding, ServerFinding, UdpFinding } from './report.js'
import { type Depth, SOCKETS_OF } from './sockets.js'
import { answersTcp } from './tcp.js'
import { DISCOVERY_END } from './waits.js'

/** When nobody has answered for so long, in ms, other signs are looked for, to tell blocked UDP from no network or no server. */
const SUSPICION = 600

/** When UDP is taken for blocked if a server was reached over TCP meanwhile, in ms: every server has had five requests by then. */
const CONVICTION = 1400

/** Where nobody listens on any host (traceroute's): a host that refuses it shows that UDP gets there and an answer back. */
const SHUT_PORT = 33_434

/** Of how many servers other signs are looked for. */
const TRIES = 3

/**
 * How long the router may take to grant a port mapping, in ms: NAT-PMP takes a few, UPnP with its search by multicast
 * about a second. Longer waits make a report late that is complete but for this.
 */
const PORT_MAPPING = 1300

/** How long the one family may be silent when the other is not, in ms: many networks have an IPv6 that leads nowhere. */
const OTHER_FAMILY = 900

const NO_WAY = 'there is no route to it'

export interface MeasureOptions {
  /** `host`, `host:port`, `[v6]:port`, names or addresses */
  readonly servers: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly signal: AbortSignal
  /** The local address to measure from; without it the system chooses, for both families. */
  readonly address?: string
  readonly resolve?: Resolve
  /** Asks the router for a port mapping, and gives it back; without it that remains unknown. */
  readonly probePortMapping?: (signal: AbortSignal) => Promise<PortMappingFinding>
  /** How much to find out; `whole` without it. */
  readonly depth?: Depth
}

/**
 * Measures what the network does to UDP: all tests of both families side by side, in about a second and in 3 at most.
 * @throws PlexusError BAD_ENDPOINT for a server that cannot be one; ADDRESS_UNAVAILABLE; the signal's reason
 */
export async function measureNat(options: MeasureOptions): Promise<NatReport> {
  const { clock, random, log, address, depth = 'whole' } = options
  options.signal.throwIfAborted()
  const targets = [...new Set(options.servers)].map((name) => ({ name, ...parseServer(name) }))
  const started = clock.now()
  const limit = deadline(clock, DISCOVERY_END, options.signal)
  const ports: UdpPort[] = []
  try {
    while (ports.length < SOCKETS_OF[depth])
      ports.push(UdpPort.open(address === undefined ? {} : { address }))
    const own = new Set(ownAddresses({ loopback: true }).map((each) => each.address))
    const names = targets.map(({ name }) => name)
    const discoveries = familiesOf(ports).map((family) => {
      const locals = ports.map((port) => port.local(family)?.port ?? 0)
      return {
        family,
        discovery: new Discovery({ family, names, locals, own, random, depth }, started),
      }
    })
    const all = discoveries.map(({ discovery }) => discovery)
    const mapping = portMappingOf(options, limit.signal)
    const signs = signsOf(all, options, limit.signal)
    const ended = drive(all, ports, clock, limit.signal)
    void signs.then(({ reached, refused }) => {
      if (reached.size === 0 && refused === 'nowhere') return
      for (const discovery of all) discovery.hurry(started + CONVICTION)
      ended.step()
    })
    for (const { name, host, port } of targets)
      void addressesOf(host, options.resolve ?? lookupAll).then(async (outcome) => {
        const why =
          'kind' in outcome && outcome.kind === 'unresolved'
            ? `its name does not resolve (${outcome.code})`
            : undefined
        const addresses = 'kind' in outcome ? [] : outcome
        for (const { family, discovery } of discoveries) {
          const endpoints = await routed(reachable([family], addresses, port))
          if (endpoints.length > 0) discovery.ask(clock.now(), name, endpoints)
          else discovery.fail(clock.now(), name, why ?? NO_WAY)
        }
        ended.step()
      })
    await ended.promise
    options.signal.throwIfAborted()
    const udp = await udpOf(all, signs)
    const portMapping = await mapping
    const families = await Promise.all(
      discoveries.map(async ({ family, discovery }) => {
        const [server] = discovery.servers
        return { family, report: discovery.report(server && (await sourceAddress(server))) }
      }),
    )
    const ipv4 = families.find(({ family }) => family === 4)?.report
    const ipv6 = families.find(({ family }) => family === 6)?.report
    const carrier = carrierOf(ipv4, portMapping)
    const evidence = discoveries.flatMap(({ family, discovery }) =>
      discovery.evidence().map((line) => `IPv${family} ${line}`),
    )
    for (const line of evidence) log.trace({}, line)
    const missing = [ipv4, ipv6].flatMap((report) =>
      (report?.missing ?? []).map(({ what, why }) => ({ what: `${what} (IPv${report?.family})`, why })),
    )
    return {
      measured: clock.date(),
      took: Math.round(clock.now() - started),
      udp,
      ipv4,
      ipv6,
      carrier,
      portMapping,
      servers: findingsOf(names, all),
      missing,
      evidence,
    }
  } finally {
    limit.abort(new PlexusError('CANCELLED', 'The network is measured.'))
    limit.dispose()
    await Promise.all(ports.map((port) => port.close()))
  }
}

/** The families that every port has a socket for. */
function familiesOf(ports: readonly UdpPort[]): Family[] {
  return ([4, 6] as const).filter((family) => ports.every((port) => port.families.includes(family)))
}

/** Those that the routing table knows a way to, and that are not meant to be asked from the loopback of a host without one. */
async function routed(endpoints: readonly Endpoint[]): Promise<Endpoint[]> {
  const sources = await Promise.all(endpoints.map(sourceAddress))
  return endpoints.filter(({ address }, index) => {
    const source = sources[index]
    if (source === undefined) return false
    const scope = scopeOf(source)
    return scope !== 'unusable' && (scope !== 'loopback' || scopeOf(address) === 'loopback')
  })
}

/** Runs the state machines until all are over or the signal aborts: the one place here with a timer of theirs. */
function drive(
  discoveries: readonly Discovery[],
  ports: readonly UdpPort[],
  clock: Clock,
  signal: AbortSignal,
): { readonly promise: Promise<void>; readonly step: () => void } {
  let cancel = () => {}
  let step = () => {}
  const promise = new Promise<void>((resolve) => {
    const unlisten = ports.map((port, socket) =>
      port.listen(({ data, from }) => {
        const family: Family = from.address.includes(':') ? 6 : 4
        for (const discovery of discoveries)
          if (discovery.family === family) discovery.receive(clock.now(), socket, data, from)
        step()
      }),
    )
    const stop = () => {
      cancel()
      for (const each of unlisten) each()
      signal.removeEventListener('abort', stop)
      step = () => {}
      resolve()
    }
    step = () => {
      cancel()
      for (const discovery of discoveries)
        for (const { socket, data, to, ttl } of discovery.transmits()) ports[socket]?.send(data, to, ttl)
      if (discoveries.some(({ heard }) => heard)) {
        for (const discovery of discoveries) if (!discovery.heard) discovery.hurry(clock.now() + OTHER_FAMILY)
      }
      if (discoveries.every(({ state }) => state === 'over')) return stop()
      const next = earliest(...discoveries.map((each) => each.due))
      cancel = clock.timer(Math.max(0, next.at - clock.now()), () => {
        for (const discovery of discoveries) discovery.tick(clock.now())
        step()
      })
    }
    signal.addEventListener('abort', stop, { once: true })
    step()
  })
  return { promise, step: () => step() }
}

/** What else was seen of servers of which none has answered. */
interface Signs {
  /** The addresses that were reached over TCP. */
  readonly reached: ReadonlySet<string>
  /** A datagram came back as refused; or one to another port of such a host, where surely nobody listens. */
  readonly refused: 'there' | 'elsewhere' | 'nowhere'
}

const NO_SIGNS: Signs = { reached: new Set(), refused: 'nowhere' }

/** Looks for other signs of the servers when none has answered for a while. */
async function signsOf(
  discoveries: readonly Discovery[],
  { clock, random }: Pick<MeasureOptions, 'clock' | 'random'>,
  signal: AbortSignal,
): Promise<Signs> {
  try {
    await sleep(clock, SUSPICION, signal)
  } catch {
    return NO_SIGNS
  }
  if (discoveries.some(({ heard }) => heard)) return NO_SIGNS
  const servers = discoveries.flatMap((discovery) => discovery.servers).slice(0, TRIES)
  const request = encode({ class: 'request', transaction: random(TRANSACTION_ID_LENGTH) })
  const ask = (to: Endpoint) => refusesUdp(to, request, clock.timer, signal)
  const there = servers.map(ask)
  const elsewhere = servers.map(({ address }) => ask({ address, port: SHUT_PORT }))
  const reached = await Promise.all(servers.map((server) => answersTcp(server, signal)))
  const addresses = servers.filter((_, index) => reached[index]).map(({ address }) => address)
  const refused = (await Promise.all(there)).includes(true)
    ? 'there'
    : (await Promise.all(elsewhere)).includes(true)
      ? 'elsewhere'
      : 'nowhere'
  return { reached: new Set(addresses), refused }
}

async function udpOf(discoveries: readonly Discovery[], signs: Promise<Signs>): Promise<UdpFinding> {
  if (discoveries.some(({ heard }) => heard)) return 'open'
  const { reached, refused } = await signs
  if (refused === 'there') return 'refused'
  if (refused === 'elsewhere') return 'unanswered'
  return reached.size > 0 ? 'blocked' : 'silent'
}

async function portMappingOf(
  { probePortMapping, clock }: MeasureOptions,
  parent: AbortSignal,
): Promise<PortMappingFinding> {
  if (!probePortMapping) return { is: 'unknown', why: 'the router was not asked' }
  const limit = deadline(clock, PORT_MAPPING, parent)
  const { signal } = limit
  const late = new Promise<PortMappingFinding>((resolve) => {
    const tell = () => resolve({ is: 'unavailable', why: `no router granted one within ${PORT_MAPPING} ms` })
    signal.addEventListener('abort', tell, { once: true })
  })
  const asked = probePortMapping(signal).catch(
    (error: unknown): PortMappingFinding => ({
      is: 'unavailable',
      why: error instanceof Error ? error.message : String(error),
    }),
  )
  try {
    return await Promise.race([asked, late])
  } finally {
    limit.dispose()
  }
}

/** In the order in which they were named; what one family failed at and the other did not is no finding. */
function findingsOf(names: readonly string[], discoveries: readonly Discovery[]): ServerFinding[] {
  return names.flatMap((name) => {
    const found = discoveries
      .flatMap((discovery) => discovery.findings())
      .filter((each) => each.name === name)
    const answered = found.filter((each) => each.answered)
    const told = found.filter(({ said }) => said !== NO_WAY)
    return answered.length > 0 ? answered : (told.length > 0 ? told : found).slice(0, 1)
  })
}
