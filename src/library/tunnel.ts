import type { Duplex } from 'node:stream'
import { Budget } from '../budget/index.js'
import { systemBudget, systemClock, systemGovernor, systemRandom } from '../system/index.js'
import {
  formatService,
  Link,
  openTunnel as open,
  type TunnelStats as PortStats,
  type Tunnel as PortTunnel,
  parseService,
  parseShareName,
  type Route,
  type Router,
  type StreamRequest,
  type TunnelOver,
  upkeepBudgetOf,
} from '../wormhole/index.js'
import { loggerOf } from './log.js'
import { forPrograms, spoken } from './option-words.js'
import { badOption, type Surroundings } from './options.js'
import { type Passage, roundTrip, witnessOf } from './passage.js'

/**
 * What becomes of a stream that the peer opens: a service that it is joined with, as `--export` takes one
 * (`host:port`, `unix:/path`, `udp:host:port`); a function that is given it; or nothing, and the peer is told that there
 * is none. A sentence in `refuse` is told to the peer.
 */
export type StreamDecision = string | ((stream: Duplex) => void) | { readonly refuse: string } | undefined

export interface TunnelOptions extends Surroundings {
  /**
   * Decides on each stream and flow that the peer opens, before anything is done for it. It is given the name that the peer
   * asked for, and who the peer is, proven by its certificate. Without it all are refused.
   */
  readonly onStream?: (request: StreamRequest) => StreamDecision | Promise<StreamDecision>
  /** Closes the tunnel when it aborts. */
  readonly signal?: AbortSignal
}

/** The state of a tunnel. */
export interface TunnelStats extends Omit<PortStats, 'since'> {
  /** When the peer had proven itself. */
  readonly since: Date
}

/** A tunnel on a passage: encrypted streams, each held up by nobody else, in both directions. */
export interface Tunnel {
  /** `owner/pin` of the other side. */
  readonly peer: string
  /** Resolves when it is over, with why; never rejects. Every stream has been cut off then. */
  readonly over: Promise<TunnelOver>
  /**
   * A stream to what the other side's `onStream` makes of this name. It is there at once; a refusal is its `error`, a
   * PlexusError SERVICE_UNKNOWN, SERVICE_DENIED, SERVICE_REFUSED or SERVICE_UNREACHABLE. Each direction ends by itself.
   * @throws PlexusError BAD_ENDPOINT for a name that cannot be one, TUNNEL_LOST
   */
  open(name: string): Duplex
  /**
   * Has the system's programs use what the other side makes of this name: listens at `at`, as `--import` does.
   * @throws PlexusError BAD_ENDPOINT, ADDRESS_IN_USE, ADDRESS_UNAVAILABLE
   */
  listen(name: string, at: string): Promise<{ readonly at: string; close(): Promise<void> }>
  /** Bytes, round-trip time in ms to a hundredth, what is open, and since when. */
  stats(): TunnelStats
  /** Closes it, and tells the peer. */
  close(): Promise<void>
  /** The same, at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The tunnel that a passage was given to. */
const tunnels = new WeakMap<Passage, Tunnel>()

/** The tunnel on a passage, if it was opened. */
export function tunnelOn(passage: Passage): Tunnel | undefined {
  return tunnels.get(passage)
}

/**
 * Opens a tunnel on a passage, whose socket it takes over. Both sides have to call it, within some seconds.
 * @returns when the peer has proven that it has the key of the passage
 * @throws PlexusError TUNNEL_SILENT if it did not within 10 s, BUSY if the peer may have no further tunnel, BAD_OPTION, the signal's reason; then the socket is closed
 */
export async function openTunnel(passage: Passage, options: TunnelOptions = {}): Promise<Tunnel> {
  const { clock = systemClock, random = systemRandom, budget = systemBudget, onStream } = options
  const log = loggerOf(options.log)
  const { signal = new AbortController().signal } = options
  const { role, faraway, key, socket, peer } = passage
  if (onStream !== undefined && typeof onStream !== 'function') {
    await socket.close()
    throw badOption('onStream', onStream, 'a function')
  }
  if (!(budget instanceof Budget)) {
    await socket.close()
    throw badOption('budget', budget, 'a Budget')
  }
  const witness = witnessOf(passage, log)
  let tunnel: PortTunnel
  try {
    tunnel = open({
      port: socket,
      role: 'either',
      initiator: role === 'inviter',
      remote: faraway,
      key,
      peer,
      clock,
      random,
      log,
      allowance: systemGovernor.allowance(peer),
      upkeepBudget: upkeepBudgetOf(clock, peer),
      share: budget.share(peer),
      ...(witness ? { witness } : {}),
      signal,
    })
  } catch (thrown) {
    await socket.close()
    throw forPrograms(thrown)
  }
  const link = new Link(tunnel, peer, routerOf(onStream), { clock, log, budget })
  try {
    await tunnel.ready
  } catch (thrown) {
    await link.close()
    throw forPrograms(thrown)
  }
  const opened: Tunnel = {
    peer,
    over: tunnel.over,
    open: (name) => link.open(parseShareName(name)),
    async listen(name, at) {
      const listening = await spoken(() => link.listen(parseShareName(name), parseService(at)))
      return { at: formatService(listening.service), close: () => listening.close() }
    },
    stats() {
      const { since, rtt, ...stats } = tunnel.stats()
      return { ...stats, rtt: roundTrip(rtt), since: new Date(clock.date() - (clock.now() - since)) }
    },
    close: () => link.close(),
    [Symbol.asyncDispose]: () => link.close(),
  }
  tunnels.set(passage, opened)
  return opened
}

function routerOf(onStream: TunnelOptions['onStream']): Router {
  return async (request) => {
    const decision = await onStream?.(request)
    return typeof decision === 'function' && request.carries === 'datagrams' ? NONE : routeOf(decision)
  }
}

const NONE: Route = {
  kind: 'refused',
  code: 'SERVICE_UNKNOWN',
  sentence: 'There is no service of that name.',
}

function routeOf(decision: StreamDecision): Route {
  if (decision === undefined) return NONE
  if (typeof decision === 'string') return { kind: 'service', service: parseService(decision) }
  if (typeof decision === 'function') return { kind: 'handler', handle: decision }
  return { kind: 'refused', code: 'SERVICE_DENIED', sentence: decision.refuse }
}
