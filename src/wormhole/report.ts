import { type Clock, formatEndpoint, sleep } from '../net/index.js'
import { bytes } from '../watch/index.js'
import { count, type Ledger } from './ledger.js'

/** Over how long a rate is measured, in ms. */
const SAMPLE = 1000

/**
 * How a forwarding stands: a line for all of it, and one for each tunnel with its rate over a second.
 * @param options.waiting how many connections wait for a tunnel
 * @throws the signal's reason
 */
export async function report(
  ledger: Ledger,
  {
    clock,
    waiting,
    signal,
  }: { readonly clock: Clock; readonly waiting: number; readonly signal: AbortSignal },
): Promise<string[]> {
  const { open, opened, failed, tunnels } = ledger
  const lines = [
    `${count(open, 'connection')} open, ${opened} since the start, ${failed} failed, ${waiting} waiting for a tunnel; ${count(tunnels.size, 'tunnel')}`,
  ]
  const before = [...tunnels.values()].map((standing) => ({ ...standing, earlier: standing.read() }))
  const began = clock.now()
  if (before.length > 0) await sleep(clock, SAMPLE, signal)
  const seconds = Math.max(1, clock.now() - began) / 1000
  for (const { peer, read, earlier } of before) {
    const now = read()
    const rate = (later: number, then: number) => `${bytes(Math.max(0, later - then) / seconds)}/s`
    const trip = now.rtt === undefined ? '' : `, round trip ${now.rtt.toFixed(1)} ms`
    lines.push(
      `tunnel${peer === '' ? '' : ` with ${peer}`} over ${formatEndpoint(now.path)}${trip}: ` +
        `${count(now.streams, 'stream')}, ${count(now.flows, 'flow')}, ` +
        `${bytes(now.bytesIn)} in at ${rate(now.bytesIn, earlier.bytesIn)}, ` +
        `${bytes(now.bytesOut)} out at ${rate(now.bytesOut, earlier.bytesOut)}, ${now.retransmitted} retransmitted`,
    )
  }
  return lines
}
