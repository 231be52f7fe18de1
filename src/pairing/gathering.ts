import { isDeepStrictEqual } from 'node:util'
import { asPlexusError, PlexusError } from '../errors/index.js'
import {
  broadController,
  type Endpoint,
  type Family,
  familyOf,
  formatEndpoint,
  sameEndpoint,
  scopeOf,
  sleep,
  sourceAddress,
  UdpPort,
} from '../net/index.js'
import type { PortMapping } from '../portmap/index.js'
import { type Candidate, isSymmetric, type NatHint } from '../punch/index.js'
import { discover, type Reflexive, refresh, samplePorts } from '../stun/index.js'
import type { PairingContext } from './context.js'
import { EVERY_KIND, isOffered, isTranslated, offeredCandidates } from './offered.js'
import { openFresh, ownHint, roomForSockets } from './prospects.js'
import { freshPorts, QuickNat } from './quick-nat.js'
import { together } from './together.js'

/**
 * How long STUN may keep an offer waiting, in ms: three transmissions of RFC 8489's schedule. After it the offer
 * goes out with this machine's addresses alone, which is enough on one LAN, and the failure is told if the pairing fails.
 */
const STUN_PATIENCE = 3000

/**
 * How long a port mapping may keep an offer waiting, in ms, where the NAT depends on one: as long as Tailscale waits. Behind
 * other NATs nothing waits for it, and it follows as an update.
 */
const MAPPING_PATIENCE = 250

/** An open port and what is known of where it can be reached. */
export interface Gathering {
  readonly port: UdpPort
  readonly candidates: readonly Candidate[]
  readonly reflexive: readonly Reflexive[]
  /** What the servers that have answered so far say: more may become known after the offer was made. */
  readonly nat: NatHint
  /** The mapping of the port on the router, when one is asked for; it goes with the port. */
  readonly portMapping: PortMapping | undefined
  /** Why there is no reflexive candidate. */
  readonly failure: PlexusError | undefined
  /** Calls back whenever more has become known of the NAT, until the port is closed or the returned function called. */
  onNat(listener: () => void): () => void
  /** Asks the servers that have not answered no longer: before the port is closed, or handed over. */
  settle(): void
  /** Settles, and closes the port. */
  close(): Promise<void>
}

/**
 * Opens the port that will punch and gathers its candidates (RFC 8445, section 5.1.1).
 * @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE, or the signal's reason
 */
export async function gather(context: PairingContext, signal: AbortSignal): Promise<Gathering> {
  const { clock, random, log } = context
  const { kinds = EVERY_KIND } = context
  const stunServers = kinds.has('reflexive') ? context.stunServers : []
  const { range, ...bind } = context.bind
  const port = range ? range.open(bind.address) : UdpPort.open(bind)
  const quick = new QuickNat(log, (server) => sample(context, server, asking.signal))
  const asking = broadController()
  let stopLooking = () => {}
  const settle = () => {
    stopLooking()
    signal.removeEventListener('abort', onabort)
    asking.abort(new PlexusError('CANCELLED', 'The mapping is known well enough.'))
  }
  const onabort = () => asking.abort(signal.reason)
  if (signal.aborted) onabort()
  signal.addEventListener('abort', onabort, { once: true })
  let portMapping: PortMapping | undefined
  const close = async () => {
    settle()
    void portMapping?.release()
    await port.close()
  }
  try {
    const answers: Reflexive[] = []
    let failure: PlexusError | undefined
    if (stunServers.length > 0) {
      // the servers that were too late for the offer still tell what kind of NAT this is
      const onAnswer = (answer: Reflexive) => quick.add(answer)
      const options = { clock, random, log, signal: asking.signal, timeout: STUN_PATIENCE, onAnswer }
      try {
        answers.push(...(await discover(port, stunServers, options)))
      } catch (thrown) {
        if (signal.aborted) throw thrown
        failure = asPlexusError(thrown)
        log.warn({ code: failure.code }, `${failure.message} Continuing with local addresses only.`)
      }
    }
    for (const { endpoint, serverName, rtt } of answers) {
      log.info(
        {},
        `public endpoint ${formatEndpoint(endpoint)}, reported by ${serverName} after ${Math.round(rtt)} ms`,
      )
    }
    // without an answer nobody knows whether there is a NAT, and the router may know an address that nobody else tells
    const mapping = answers.length === 0 || isTranslated(answers) ? mapPort(context, port) : undefined
    portMapping = together(mapping, openPinhole(context, port))
    if (portMapping && isSymmetric(quick.hint)) {
      await Promise.race([portMapping.asked, sleep(clock, MAPPING_PATIENCE, signal)])
    }
    stopLooking = lookForReports(context, quick)
    return {
      port,
      candidates: offeredCandidates(port, answers, portMapping?.external, kinds),
      reflexive: answers,
      portMapping,
      get nat() {
        return ownHint(context, quick.hint)
      },
      failure,
      onNat: (listener) => quick.onHint(listener),
      settle,
      close,
    }
  } catch (thrown) {
    await close()
    throw thrown
  }
}

/** How often a report that is being made is looked at, in ms, and for how long: it takes a few seconds. */
const LOOK = 300
const LOOKS = 20

/** Tells whoever waits for hints when the report on the NAT has become another, until it is stopped. */
function lookForReports({ clock, nat }: PairingContext, quick: QuickNat): () => void {
  if (!nat) return () => {}
  let before = nat()
  let looks = 0
  const look = () => {
    const now = nat()
    if (!isDeepStrictEqual(now, before)) quick.tell()
    before = now
    if (++looks < LOOKS) cancel = clock.timer(LOOK, look)
  }
  let cancel = clock.timer(LOOK, look)
  return () => cancel()
}

/**
 * How long the slowest of the fresh sockets may take, in ms: they are asked side by side, and a symmetric NAT makes no
 * sense of a sample that is older.
 */
const SAMPLE_PATIENCE = 500

/** The outside ports of some fresh sockets, in the order in which they were opened; none where the flags leave no room. */
async function sample(context: PairingContext, server: Endpoint, signal: AbortSignal): Promise<number[]> {
  const { clock, random, log, bind, kinds = EVERY_KIND } = context
  if (roomForSockets(bind) === 0) {
    log.info({}, 'no port search: --stun-client has a port, or --port-range is too small')
    return []
  }
  if (!kinds.has('predicted') || familyOf(server) !== 4) return []
  const ports = freshPorts(() => openFresh(bind))
  try {
    return await samplePorts(ports, server, { clock, random, signal, timeout: SAMPLE_PATIENCE })
  } finally {
    await Promise.all(ports.map((port) => port.close()))
  }
}

/** Asks for a mapping of the port on the router, if that is wanted and can help. */
function mapPort({ portMapper, kinds = EVERY_KIND, bind, log }: PairingContext, port: UdpPort) {
  const local = port.local(4)
  if (!portMapper || !local || !kinds.has('mapped')) return undefined
  const { address } = bind
  return portMapper.map(local.port, { log, ...(address === undefined ? {} : { address }) })
}

/** Asks the router to let packets in to the public IPv6 address of this machine, if it has one. */
function openPinhole({ portMapper, kinds = EVERY_KIND, bind, log }: PairingContext, port: UdpPort) {
  const local = port.local(6)
  if (!portMapper || !local || !kinds.has('mapped')) return undefined
  const { address } = bind
  return portMapper.open(local.port, { log, ...(address === undefined ? {} : { address }) })
}

/** Calls back when what is known of the NAT is worth telling and was not offered, from now on until the signal aborts. */
export function onSymmetric(
  gathering: Gathering,
  offered: NatHint,
  signal: AbortSignal,
  listener: () => void,
): void {
  const told = () => {
    if (isSymmetric(gathering.nat) && !signal.aborted) listener()
  }
  const stop = gathering.onNat(told)
  signal.addEventListener('abort', stop, { once: true })
  if (!isDeepStrictEqual(gathering.nat, offered)) told()
}

/** Calls back with every mapped candidate that was not in the offer, from now on until the signal aborts. */
export function onMapped(
  { portMapping, candidates }: Gathering,
  signal: AbortSignal,
  listener: (candidate: Candidate) => void,
): void {
  const offered = candidates.find(({ kind }) => kind === 'mapped')?.endpoint
  const stop = portMapping?.onExternal((endpoint) => {
    if (offered && sameEndpoint(offered, endpoint)) return
    listener({ kind: 'mapped', endpoint })
  })
  if (stop) signal.addEventListener('abort', stop, { once: true })
}

/**
 * The peer's candidates that may be probed. Those on loopback lead to services of this very machine, so they count only
 * when this side is to be met there itself.
 */
export function probeable(gathering: Gathering, remote: readonly Candidate[]): Candidate[] {
  const onLoopback = ({ endpoint }: Candidate) => scopeOf(endpoint.address) === 'loopback'
  return gathering.candidates.some(onLoopback)
    ? [...remote]
    : remote.filter((candidate) => !onLoopback(candidate))
}

/**
 * How often the mapping of a waiting port is refreshed, in ms. Some NATs forget in 5 s, and nobody knows which: the peer
 * would knock at a mapping that is gone. A small datagram in 2 s costs less than to find out.
 */
const WAITING_REFRESH = 2000

/**
 * Keeps the NAT's mappings of a waiting port alive, and tells when one changed, until the signal aborts.
 * @param onChange is given the new reflexive candidate
 */
export function keepMapped(
  context: PairingContext,
  gathering: Gathering,
  signal: AbortSignal,
  onChange: (candidate: Candidate) => void,
): void {
  const { clock, random, log } = context
  for (const reflexive of gathering.reflexive) {
    const options = {
      clock,
      random,
      log,
      signal,
      interval: WAITING_REFRESH,
      onChange(endpoint: Endpoint) {
        log.info({}, `public endpoint changed to ${formatEndpoint(endpoint)}`)
        const candidate: Candidate = { kind: 'reflexive', endpoint }
        if (isOffered(candidate, context.kinds ?? EVERY_KIND)) onChange(candidate)
      },
    }
    refresh(gathering.port, reflexive, options).catch((thrown: unknown) => {
      if (!signal.aborted) log.debug({ err: thrown }, 'the mapping is no longer refreshed')
    })
  }
}

/** The local end of the path to `faraway`: the address that the system sends from, and the port's number. */
export async function innerEndpoint(port: UdpPort, faraway: Endpoint): Promise<Endpoint> {
  const local = port.local(familyOf(faraway)) ?? { address: '0.0.0.0', port: 0 }
  if (local.address !== '0.0.0.0' && local.address !== '::') return local
  return { address: (await sourceAddress(faraway)) ?? local.address, port: local.port }
}

/** The latest reflexive endpoint of a family. */
export function reflexiveOf(gathering: Gathering, family: Family): Endpoint | undefined {
  return gathering.reflexive.find(({ endpoint }) => familyOf(endpoint) === family)?.endpoint
}
