import { isIP } from 'node:net'
import { PlexusError } from '../errors/index.js'
import {
  type Clock,
  canonicalAddress,
  formatEndpoint,
  type Logger,
  type Random,
  type UdpPort,
} from '../net/index.js'
import { Drive } from './drive.js'
import { addressesOf, lookupAll, parseServer, type Resolve, reachable } from './server-name.js'
import { describeTried, type NameFailure, type Reflexive, Survey, type Tried } from './survey.js'

/** How long to ask before there is no answer, in ms: by then each server has had six requests. */
export const DISCOVERY_TIMEOUT = 5000
export interface DiscoverOptions {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly signal: AbortSignal
  /** ms; DISCOVERY_TIMEOUT */
  readonly timeout?: number
  readonly resolve?: Resolve
  /**
   * Called for every good answer as it comes, for comparing mappings. With it the other servers are asked on after
   * the promise has resolved, until each has answered or failed, `timeout` is over, or `signal` aborts: abort it
   * before the port is closed.
   */
  readonly onAnswer?: (reflexive: Reflexive) => void
}

/**
 * Learns under which endpoints the outside sees a port, by asking several servers at once on that very port.
 * Other datagrams are left to whoever else listens on it.
 * @param servers `host`, `host:port`, `[v6]:port`, names or addresses
 * @returns the first good answer of each address family, at least one
 * @throws PlexusError STUN_UNREACHABLE, which says what became of each server; BAD_ENDPOINT; the signal's reason
 */
export async function discover(
  port: UdpPort,
  servers: readonly string[],
  options: DiscoverOptions,
): Promise<Reflexive[]> {
  const { clock, random, log, signal, timeout = DISCOVERY_TIMEOUT, resolve = lookupAll, onAnswer } = options
  signal.throwIfAborted()
  const names = [...new Set(servers)]
  const targets = names.map((name) => ({ name, ...parseServer(name) }))
  const started = clock.now()
  const survey = new Survey({ names, families: port.families, random, timeout }, started)

  return new Promise((settled, failed) => {
    const onabort = () => {
      stop()
      failed(signal.reason)
    }
    const stop = () => {
      drive.stop()
      signal.removeEventListener('abort', onabort)
    }
    const onstep = () => {
      for (const answer of survey.answers()) {
        log.debug(logged(answer), 'a STUN server answered')
        onAnswer?.(answer)
        // one server alone cannot tell how the mapping depends on the destination, unless it has two addresses
        if (onAnswer && answer.other && names.length === 1) {
          survey.askAlso(clock.now(), answer.serverName, answer.other)
          // what is to be sent now was collected before this
          queueMicrotask(() => drive.step())
        }
      }
      const { state } = survey
      if (state.name === 'failed') {
        stop()
        failed(unreachable(state.tried, clock.now() - started))
      } else if (state.name === 'settled') {
        settled([...state.reflexive])
        if (!onAnswer || survey.due.why === 'never') stop()
      }
    }
    const drive = new Drive(survey, { port, clock, onstep })
    signal.addEventListener('abort', onabort, { once: true })
    for (const target of targets) {
      const tell = (outcome: readonly string[] | NameFailure) => {
        const endpoints = 'kind' in outcome ? [] : reachable(port.families, outcome, target.port)
        if (endpoints.length > 0) survey.ask(clock.now(), target.name, endpoints)
        else {
          const failure = 'kind' in outcome ? outcome : ({ kind: 'unreachable', addresses: outcome } as const)
          survey.fail(clock.now(), target.name, failure)
        }
      }
      if (isIP(target.host)) tell([canonicalAddress(target.host)])
      else {
        void addressesOf(target.host, resolve).then((outcome) => {
          tell(outcome)
          drive.step()
        })
      }
    }
    drive.step()
  })
}

/** Errors of servers whose names all did not resolve: nothing was sent, so nothing is known of UDP. */
const NAMELESS = new WeakSet<PlexusError>()

/** Whether no STUN server was asked, because not one of their names resolved (DNS). */
export function isNameless(error: PlexusError): boolean {
  return NAMELESS.has(error)
}

/** @param took how long that was tried, in ms */
function unreachable(tried: readonly Tried[], took: number): PlexusError {
  if (tried.length === 0) return new PlexusError('STUN_UNREACHABLE', 'No STUN server was named.')
  const list = tried.map(({ serverName, server, failure }) => {
    const resolved = server && !serverName.includes(server.address) ? ` (${formatEndpoint(server)})` : ''
    return `${serverName}${resolved}: ${describeTried(failure)}`
  })
  const nameless = tried.every(({ failure }) => failure.kind === 'unresolved')
  // only who waited for an answer has waited
  const waited = tried.some(
    ({ failure }) =>
      failure.kind === 'silent' || (failure.kind === 'unresolved' && failure.code === 'timeout'),
  )
  const within = waited ? ` within ${Math.max(1, Math.round(took / 1000))} s` : ''
  const sentence = `No STUN server gave a usable answer${within}: ${list.join('; ')}.`
  if (!nameless) return new PlexusError('STUN_UNREACHABLE', sentence)
  const error = new PlexusError('STUN_UNREACHABLE', sentence, {
    advice: 'Check that this machine resolves names (DNS), or name servers by address with --stun-server.',
  })
  NAMELESS.add(error)
  return error
}

function logged({ endpoint, server, serverName, rtt }: Reflexive): object {
  return {
    reflexive: formatEndpoint(endpoint),
    server: formatEndpoint(server),
    serverName,
    rtt: Math.round(rtt),
  }
}
