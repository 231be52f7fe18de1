import { PlexusError } from '../errors/index.js'
import { type Clock, type Datagram, formatEndpoint, type Logger, type UdpPort } from '../net/index.js'
import { type Candidate, formatCandidate } from './candidate.js'
import { Punch, type PunchOptions } from './handshake.js'
import type { PunchEvent, PunchFailure, PunchResult } from './state.js'

export interface PunchDriverOptions extends PunchOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Aborting says ABORT to the peer, then rejects `result` with the signal's reason. */
  readonly signal: AbortSignal
  /** Gets every datagram at the port that is no probe of the peer: STUN of another listener, noise, or first data. */
  readonly onUnclaimed?: (datagram: Datagram) => void
  /** Hears of every event, as the log does. `ms` since the start. */
  readonly onEvent?: (event: PunchEvent, ms: number) => void
}

/** A punch that is under way on a port. */
export interface RunningPunch {
  /**
   * Resolves once this side is settled: the accepter at the first DONE (and 10 ms for its acknowledgements), the
   * inviter when a DONE is acknowledged or 300 ms after the first one. The last packet on the path is then at most
   * 300 ms old, and nothing more is sent.
   * Rejects with PlexusError PUNCH_TIMEOUT or PEER_ABORTED, or with the reason of the signal.
   */
  readonly result: Promise<PunchResult>
  /** Adds candidates of the peer that became known since. */
  addCandidates(candidates: readonly Candidate[]): void
  /** Tells that data of this session arrived, by `onUnclaimed`, which the caller has authenticated. */
  dataArrived(): void
}

/**
 * Punches on a port, which stays open and keeps its other listeners. Starts at once.
 * @throws RangeError if the keys cannot serve
 */
export function punch(port: UdpPort, options: PunchDriverOptions): RunningPunch {
  const { clock, log, signal, onUnclaimed, onEvent } = options
  const start = clock.now()
  const core = new Punch(options, start)
  if (signal.aborted) {
    return { result: Promise.reject(signal.reason), addCandidates: () => {}, dataArrived: () => {} }
  }

  let settle: { resolve(result: PunchResult): void; reject(reason: unknown): void } | undefined
  const result = new Promise<PunchResult>((resolve, reject) => {
    settle = { resolve, reject }
  })
  let stopTimer = () => {}
  let phase: 'running' | 'over' = 'running'
  const stopListening = port.listen((datagram) => {
    if (phase === 'over') return
    if (!core.receive(clock.now(), datagram.data, datagram.from)) {
      onUnclaimed?.(datagram)
      return
    }
    log.trace({ from: formatEndpoint(datagram.from), bytes: datagram.data.length }, 'punch: received')
    pump()
  })
  const onabort = () => {
    core.abort(clock.now(), 'CANCELLED')
    pump()
  }
  signal.addEventListener('abort', onabort, { once: true })

  const finish = () => {
    phase = 'over'
    stopListening()
    signal.removeEventListener('abort', onabort)
    log.debug({ ...core.received, ms: Math.round(clock.now() - start) }, 'punch: over')
  }

  /** Carries out what the core wants, and arms the one timer. */
  function pump(): void {
    if (phase === 'over') return
    stopTimer()
    for (const { data, to, ttl, type } of core.transmits()) {
      log.trace({ to: formatEndpoint(to), type, ...(ttl === undefined ? {} : { ttl }) }, 'punch: sent')
      port.send(data, to, ttl)
    }
    for (const event of core.events()) {
      report(log, event)
      onEvent?.(event, clock.now() - start)
    }
    const { state } = core
    if (state.name === 'succeeded') {
      finish()
      settle?.resolve(state.result)
    } else if (state.name === 'failed') {
      finish()
      settle?.reject(signal.aborted ? signal.reason : failureError(state.failure, clock.now() - start))
    } else {
      stopTimer = clock.timer(Math.max(0, core.deadline - clock.now()), () => {
        core.tick(clock.now())
        pump()
      })
    }
  }

  core.tick(start)
  pump()
  return {
    result,
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
      ? 'nothing valid was heard from any'
      : proven === 0
        ? `the peer was heard from ${heard}, but none worked in both directions`
        : `${proven} worked in both directions, but the peer did not confirm the path`
  return new PlexusError('PUNCH_TIMEOUT', `No path in ${seconds} s: ${endpoints} tried, ${found}.`)
}
