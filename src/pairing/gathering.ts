import { asPlexusError, type PlexusError } from '../errors/index.js'
import {
  type Endpoint,
  type Family,
  familyOf,
  formatEndpoint,
  ownAddresses,
  sameEndpoint,
  scopeOf,
  sourceAddress,
  UdpPort,
} from '../net/index.js'
import type { Candidate } from '../punch/index.js'
import { discover, type Reflexive, refresh } from '../stun/index.js'
import type { PairingContext } from './context.js'
import type { MappingHint } from './message.js'

/** Own addresses beyond this many are of containers and the like: they would only crowd out the useful ones. */
const MAX_HOST_CANDIDATES = 8

/**
 * How long STUN may keep an offer waiting, in ms: three transmissions of RFC 8489's schedule. After it the offer
 * goes out with the own addresses alone, which is enough on one LAN, and the failure is told if the pairing fails.
 */
const STUN_PATIENCE = 3000

/** An open port and what is known of where it can be reached. */
export interface Gathering {
  readonly port: UdpPort
  readonly candidates: readonly Candidate[]
  readonly reflexive: readonly Reflexive[]
  readonly mapping: MappingHint
  /** Why there is no reflexive candidate. */
  readonly failure: PlexusError | undefined
}

/**
 * Opens the port that will punch and gathers its candidates (RFC 8445, section 5.1.1).
 * @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE, or the signal's reason
 */
export async function gather(context: PairingContext, signal: AbortSignal): Promise<Gathering> {
  const { clock, random, log } = context
  const { range, ...bind } = context.bind
  const port = range ? range.open(bind.address) : UdpPort.open(bind)
  try {
    const answers: Reflexive[] = []
    let failure: PlexusError | undefined
    if (context.stunServers.length > 0) {
      const options = { clock, random, log, signal, timeout: STUN_PATIENCE }
      try {
        answers.push(...(await discover(port, context.stunServers, options)))
      } catch (thrown) {
        if (signal.aborted) throw thrown
        failure = asPlexusError(thrown)
        log.warn({ code: failure.code }, `${failure.message} Going on with the own addresses alone.`)
      }
    }
    for (const { endpoint, serverName, rtt } of answers) {
      log.info(
        {},
        `public endpoint ${formatEndpoint(endpoint)}, says ${serverName} after ${Math.round(rtt)} ms`,
      )
    }
    return { port, candidates: candidatesOf(port, answers), reflexive: answers, mapping: 'unknown', failure }
  } catch (thrown) {
    await port.close()
    throw thrown
  }
}

function candidatesOf(port: UdpPort, answers: readonly Reflexive[]): Candidate[] {
  const outside = hostEndpoints(port, false)
  // a host without any network still reaches itself
  const own = outside.length + answers.length > 0 ? outside : hostEndpoints(port, true)
  const candidates: Candidate[] = own
    .slice(0, MAX_HOST_CANDIDATES)
    .map((endpoint) => ({ kind: 'host', endpoint }))
  for (const { endpoint } of answers) {
    if (!candidates.some((candidate) => sameEndpoint(candidate.endpoint, endpoint))) {
      candidates.push({ kind: 'reflexive', endpoint })
    }
  }
  return candidates
}

function hostEndpoints(port: UdpPort, loopback: boolean): Endpoint[] {
  return ownAddresses({ loopback }).flatMap(({ address, family }) => {
    const local = port.local(family)
    if (!local) return []
    const everywhere = local.address === '0.0.0.0' || local.address === '::'
    return everywhere || local.address === address ? [{ address, port: local.port }] : []
  })
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
      onChange(endpoint: Endpoint) {
        log.info({}, `public endpoint changed to ${formatEndpoint(endpoint)}`)
        onChange({ kind: 'reflexive', endpoint })
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
