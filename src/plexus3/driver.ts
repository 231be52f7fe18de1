import { PlexusError } from '../errors/index.js'
import {
  type Allowance,
  type Clock,
  type Datagram,
  formatEndpoint,
  Governor,
  type Logger,
  type UdpPort,
} from '../net/index.js'
import { Handshake, type HandshakeOptions } from './handshake.js'

export interface HandshakeDriverOptions extends HandshakeOptions {
  readonly clock: Clock
  readonly log: Logger
  /**
   * What may be sent to endpoints that have not answered: no peer of this dialect can prove that it is where it says.
   * Without it this handshake has limits of its own.
   */
  readonly allowance?: Allowance
  /** Aborting rejects with the signal's reason; the dialect has no word to tell the peer. */
  readonly signal: AbortSignal
  /** Is called for every datagram that can be one of the peer's. */
  readonly onHeard?: () => void
  /** Gets every datagram at the port that is none of the peer's handshake: STUN of another listener, or noise. */
  readonly onUnclaimed?: (datagram: Datagram) => void
}

/**
 * Does the handshake on a port, which stays open and keeps its other listeners.
 * @returns whether the peer's last word was heard: an accepter may have had to conclude it
 * @throws PlexusError PUNCH_TIMEOUT, or the signal's reason
 */
export function handshake(
  port: UdpPort,
  options: HandshakeDriverOptions,
): Promise<{ readonly acknowledged: boolean }> {
  const { clock, log, allowance = new Governor().allowance(''), signal, onUnclaimed, onHeard, peer } = options
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const start = clock.now()
    const core = new Handshake(options, start)
    let stopTimer = () => {}
    const stopListening = port.listen((datagram) => {
      if (!core.receive(clock.now(), datagram.data, datagram.from)) return onUnclaimed?.(datagram)
      onHeard?.()
      pump()
    })
    const finish = () => {
      stopTimer()
      stopListening()
      signal.removeEventListener('abort', onabort)
    }
    const onabort = () => {
      finish()
      reject(signal.reason)
    }
    signal.addEventListener('abort', onabort, { once: true })

    /** Carries out what the core wants, and arms the one timer. */
    function pump(): void {
      stopTimer()
      for (const { data, to, ttl, flag } of core.transmits()) {
        // it is said again anyhow
        if (allowance.take(clock.now(), to, 'check') > 0) continue
        log.trace({ to: formatEndpoint(to), flag, ...(ttl === undefined ? {} : { ttl }) }, 'handshake: sent')
        port.send(data, to, ttl)
      }
      for (const state of core.events()) log.debug({ state }, `handshake: ${state}`)
      const { state } = core
      if (state.name === 'succeeded') {
        finish()
        resolve({ acknowledged: state.acknowledged })
      } else if (state.name === 'failed') {
        finish()
        const seconds = Math.round((clock.now() - start) / 1000)
        const heard = state.heard ? 'was heard, but did not answer' : 'was not heard'
        const what = `No path in ${seconds} s: the plexus 3.x peer at ${formatEndpoint(peer)} ${heard}.`
        reject(new PlexusError('PUNCH_TIMEOUT', what))
      } else {
        const { at, why } = core.due
        const wait = Math.max(0, at - clock.now())
        log.trace({ wait: Math.round(wait), why }, 'handshake: waits')
        stopTimer = clock.timer(wait, () => {
          core.tick(clock.now())
          pump()
        })
      }
    }

    core.tick(start)
    pump()
  })
}
