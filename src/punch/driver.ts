import { PlexusError } from '../errors/index.js'
import { type Clock, type Datagram, formatEndpoint, type Logger, type UdpPort } from '../net/index.js'
import { type Candidate, formatCandidate } from './candidate.js'
import { Punch } from './handshake.js'
import type { Prospects, PunchOptions } from './options.js'
import { formatAttempt } from './plan.js'
import { Sockets } from './sockets.js'
import type { PunchEvent, PunchFailure, PunchResult } from './state.js'

export interface PunchDriverOptions extends PunchOptions {
  /** With which further sockets are opened; it throws when there is none. Without it nothing beyond the direct attempt is tried. */
  readonly openSocket?: () => UdpPort
  /** Resolves when a search may load the network, with what is to be called at its end. */
  readonly enterSearch?: (signal: AbortSignal) => Promise<() => void>
  readonly clock: Clock
  readonly log: Logger
  /** Aborting says ABORT to the peer, then rejects `result` with the signal's reason. */
  readonly signal: AbortSignal
  /** Gets every datagram at the port that is no probe of the peer: STUN of another listener, noise, or first data. */
  readonly onUnclaimed?: (datagram: Datagram) => void
  /** Hears of every event, as the log does. `ms` since the start. */
  readonly onEvent?: (event: PunchEvent, ms: number) => void
}

/** A path, and the port of this side that it begins at. */
export interface Punched extends PunchResult {
  /** The one that was given, or one that was opened on the way: it is the caller's from now on. All others of these are closed. */
  readonly port: UdpPort
}

/** A punch that is under way on a port. */
export interface RunningPunch {
  /**
   * Resolves once this side is settled: the accepter at the first DONE (and 10 ms for its acknowledgements), the
   * inviter when a DONE is acknowledged or 300 ms after the first one. The last packet on the path is then at most
   * 300 ms old, and nothing more is sent.
   * Rejects with PlexusError PUNCH_TIMEOUT or PEER_ABORTED, or with the reason of the signal.
   */
  readonly result: Promise<Punched>
  /** Packets of attempts beyond the direct one, and sockets that they took beside the first. */
  readonly spent: { readonly packets: number; readonly sockets: number }
  /** Adds candidates of the peer that became known since. */
  addCandidates(candidates: readonly Candidate[]): void
  /** More has become known of the two sides: the strategies follow. */
  reconsider(prospects: Pick<Prospects, 'own' | 'peer'>): void
  /** Tells that data of this session arrived, by `onUnclaimed`, which the caller has authenticated. */
  dataArrived(): void
}

/**
 * Punches on a port, which stays open and keeps its other listeners. Starts at once.
 * @throws RangeError if the keys cannot serve
 */
export function punch(port: UdpPort, options: PunchDriverOptions): RunningPunch {
  const { clock, log, signal, openSocket, enterSearch, onUnclaimed, onEvent } = options
  const start = clock.now()
  const core = new Punch(options, start)
  if (signal.aborted) {
    const nothing = () => {}
    const result = Promise.reject(signal.reason)
    return { result, spent: core.spent, addCandidates: nothing, reconsider: nothing, dataArrived: nothing }
  }

  let settle: { resolve(result: Punched): void; reject(reason: unknown): void } | undefined
  const result = new Promise<Punched>((resolve, reject) => {
    settle = { resolve, reject }
  })
  let stopTimer = () => {}
  let phase: 'running' | 'over' = 'running'
  const over = new AbortController()
  const onDatagram = (datagram: Datagram, socket: number) => {
    if (phase === 'over') return
    if (!core.receive(clock.now(), datagram.data, datagram.from, socket)) {
      if (socket === 0) onUnclaimed?.(datagram)
      return
    }
    log.trace({ from: formatEndpoint(datagram.from), bytes: datagram.data.length, socket }, 'punch: received')
    pump()
  }
  const sockets = new Sockets(port, { log, onDatagram, ...(openSocket ? { open: openSocket } : {}) })
  const onabort = () => {
    core.abort(clock.now(), 'CANCELLED')
    pump()
  }
  signal.addEventListener('abort', onabort, { once: true })

  const finish = () => {
    phase = 'over'
    over.abort()
    signal.removeEventListener('abort', onabort)
    const { packets, sockets: further } = core.spent
    const ms = Math.round(clock.now() - start)
    if (packets > 0) log.info({}, `tried ${packets} packets and ${further} further sockets in ${ms} ms`)
    if (core.received.held > 0) {
      const why = 'too many packets went to addresses of this peer that do not answer'
      log.info({}, `${core.received.held} checks were delayed: ${why}`)
    }
    log.debug({ ...core.received, ms }, 'punch: over')
  }

  /** Waits for its turn, as only one search at a time may load the network. */
  function search(): void {
    const entered = enterSearch?.(over.signal) ?? Promise.resolve(() => {})
    entered
      .then((leave) => {
        if (phase === 'over') return leave()
        over.signal.addEventListener('abort', leave, { once: true })
        core.permitSearch(clock.now())
        pump()
      })
      .catch((thrown: unknown) => {
        if (phase === 'running') log.debug({ err: thrown }, 'punch: no search')
      })
  }

  /** Carries out what the core wants, and arms the one timer. */
  function pump(): void {
    if (phase === 'over') return
    stopTimer()
    if (core.wantsSearch(clock.now())) search()
    for (const { socket, data, to, ttl, type } of core.transmits()) {
      const limit = ttl === undefined ? {} : { ttl }
      log.trace({ to: formatEndpoint(to), type, socket, ...limit }, 'punch: sent')
      sockets.get(socket)?.send(data, to, ttl)
    }
    for (const event of core.events()) {
      report(log, event)
      onEvent?.(event, clock.now() - start)
    }
    const { state } = core
    if (state.name === 'succeeded') {
      finish()
      settle?.resolve({ ...state.result, port: sockets.keep(state.result.socket) })
    } else if (state.name === 'failed') {
      finish()
      sockets.keep(0)
      settle?.reject(signal.aborted ? signal.reason : failureError(state.failure, clock.now() - start))
    } else {
      const next = () => {
        core.tick(clock.now())
        pump()
      }
      const { at, why } = core.due
      const wait = at - clock.now()
      log.trace({ wait: Math.round(wait), why }, 'punch: waits')
      // what is due need not wait for the millisecond that a timer takes at least
      const turn = wait <= 0 ? setImmediate(next) : undefined
      stopTimer = turn ? () => clearImmediate(turn) : clock.timer(wait, next)
    }
  }

  core.tick(start)
  pump()
  return {
    result,
    get spent() {
      return core.spent
    },
    reconsider(prospects) {
      core.reconsider(prospects)
      pump()
    },
    addCandidates(candidates) {
      core.addCandidates(clock.now(), candidates)
      pump()
    },
    dataArrived() {
      core.dataArrived()
      pump()
    },
  }
}

function report(log: Logger, event: PunchEvent): void {
  if (event.name === 'state') {
    log.debug({ state: event.state }, `punch: ${event.state}`)
    return
  }
  if (event.name === 'attempt') {
    log.info({}, formatAttempt(event.attempt))
    return
  }
  const candidate = formatCandidate(event.candidate)
  const rtt = 'rtt' in event && event.rtt !== undefined ? { rtt: Math.round(event.rtt * 10) / 10 } : {}
  if (event.name === 'nominated') log.info({ candidate, ...rtt }, `the path is ${candidate}`)
  else log.debug({ candidate, ...rtt }, `punch: ${event.name} ${candidate}`)
}

function failureError(failure: PunchFailure, ms: number): PlexusError {
  const { tried, heard, proven } = failure
  if (failure.code === 'PEER_ABORTED') {
    return new PlexusError('PEER_ABORTED', `The peer gave up punching: ${failure.reason}.`)
  }
  const seconds = Math.round(ms / 100) / 10
  const endpoints = tried === 1 ? '1 endpoint of the peer was' : `${tried} endpoints of the peer were`
  const found =
    heard === 0
      ? 'nothing valid was heard from the peer'
      : proven === 0
        ? `the peer was heard from ${heard}, but none worked in both directions`
        : `${proven} worked in both directions, but the peer did not confirm the path`
  return new PlexusError('PUNCH_TIMEOUT', `No path in ${seconds} s: ${endpoints} tried, ${found}.`)
}
