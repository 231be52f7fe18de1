import {
  type Clock,
  type Endpoint,
  formatEndpoint,
  type Logger,
  type Random,
  sameEndpoint,
  sleep,
  type UdpPort,
} from '../net/index.js'
import { Drive } from './drive.js'
import type { Reflexive } from './survey.js'
import { describeFailure, Transaction, type TransactionState } from './transaction.js'

/**
 * How often a mapping is refreshed, in ms. NATs should keep one for 2 minutes (RFC 4787) and some do for 30 s only;
 * half of that leaves room for a lost request.
 */
export const REFRESH_INTERVAL = 15_000

export interface RefreshOptions {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly signal: AbortSignal
  /** ms; REFRESH_INTERVAL */
  readonly interval?: number
  /** The outside sees the port under another endpoint now. */
  readonly onChange: (endpoint: Endpoint) => void
}

/**
 * Keeps the mapping of a port fresh: asks the server that answered once more in each interval, and tells when the
 * answer is another one. A server that falls silent is asked on: what goes out refreshes the mapping all the same.
 * Resolves when the signal aborts; never rejects.
 */
export async function refresh(port: UdpPort, reflexive: Reflexive, options: RefreshOptions): Promise<void> {
  const { clock, random, log, signal, interval = REFRESH_INTERVAL, onChange } = options
  const server = formatEndpoint(reflexive.server)
  let { endpoint } = reflexive
  let next = clock.now()
  while (!signal.aborted) {
    // a transaction that fails takes 11.85 s: reckoned from its start, the intervals stay equal
    next = Math.max(next + interval, clock.now())
    await sleep(clock, next - clock.now(), signal).catch(() => {})
    if (signal.aborted) return
    const state = await transact(port, new Transaction(reflexive.server, random, clock.now()), clock, signal)
    if (state.name === 'failed') {
      log.debug(
        { server, why: describeFailure(state.failure) },
        'the STUN server did not confirm the mapping',
      )
    } else if (state.name === 'answered' && !sameEndpoint(state.endpoint, endpoint)) {
      log.info(
        { server, before: formatEndpoint(endpoint), after: formatEndpoint(state.endpoint) },
        'the reflexive endpoint has changed',
      )
      endpoint = state.endpoint
      onChange(endpoint)
    }
  }
}

/** Runs one transaction until it ends or the signal aborts, which leaves it waiting. */
function transact(
  port: UdpPort,
  transaction: Transaction,
  clock: Clock,
  signal: AbortSignal,
): Promise<TransactionState> {
  return new Promise((resolve) => {
    const end = () => {
      drive.stop()
      signal.removeEventListener('abort', end)
      resolve(transaction.state)
    }
    const onstep = () => {
      if (transaction.state.name !== 'waiting') end()
    }
    const drive = new Drive(transaction, { port, clock, onstep })
    signal.addEventListener('abort', end, { once: true })
    drive.step()
  })
}
