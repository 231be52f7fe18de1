import type { Clock, Endpoint, Random, UdpPort } from '../net/index.js'
import { Drive } from './drive.js'
import { Transaction } from './transaction.js'

export interface SampleOptions {
  readonly clock: Clock
  readonly random: Random
  readonly signal: AbortSignal
  /** How long to wait for the slowest answer, in ms. */
  readonly timeout: number
}

/**
 * The outside ports of fresh sockets, asked of one server in the order of the sockets: how a NAT gives out ports. The
 * sockets stay the caller's. Sockets without an answer are left out; resolves when all have answered, the time is up or
 * the signal aborts; never rejects.
 */
export function samplePorts(
  ports: readonly UdpPort[],
  server: Endpoint,
  { clock, random, signal, timeout }: SampleOptions,
): Promise<number[]> {
  return new Promise((resolve) => {
    const transactions = ports.map(() => new Transaction(server, random, clock.now()))
    const drives: Drive[] = []
    const end = () => {
      cancel()
      signal.removeEventListener('abort', end)
      for (const drive of drives) drive.stop()
      resolve(transactions.flatMap(({ state }) => (state.name === 'answered' ? [state.endpoint.port] : [])))
    }
    const cancel = clock.timer(timeout, end)
    const onstep = () => {
      if (transactions.every(({ state }) => state.name !== 'waiting')) end()
    }
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted || ports.length === 0) return end()
    for (const [index, port] of ports.entries()) {
      const transaction = transactions[index]
      if (!transaction) continue
      const drive = new Drive(transaction, { port, clock, onstep })
      drives.push(drive)
      drive.step()
    }
  })
}
