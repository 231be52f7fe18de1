import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Machine } from '../../test/natlab/machine.js'

/** The port of every iperf3 server here. */
export const IPERF_PORT = 5201

/** How many streams, and which way: `up` is from the near machine to the far one. */
export interface Run {
  readonly streams: number
  readonly way: 'up' | 'down'
}

/** iperf3 as a server, on all addresses of a machine, until `close`. */
export class IperfServer {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(machine: Machine): Promise<IperfServer> {
    const options = ['-s', '--forceflush', '-p', String(IPERF_PORT)]
    const child = machine.spawn('iperf3', options, { stdio: ['ignore', 'pipe', 'ignore'] })
    if (child.stdout) await once(child.stdout, 'data')
    return new IperfServer(child)
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.kill()
    this.#child.stdout?.resume()
    await ended
  }
}

/**
 * Sends for `seconds`, after one second that does not count.
 * @returns what arrived, in Mbit/s
 * @throws Error with what iperf3 says
 */
export async function iperf(
  machine: Machine,
  target: { readonly address: string; readonly port: number },
  { streams, way, congestion }: Run & { readonly congestion?: string },
  seconds: number,
): Promise<number> {
  const options = ['-c', target.address, '-p', String(target.port), '-P', String(streams), '-J']
  const times = ['-t', String(seconds), '-O', '1', ...(way === 'down' ? ['-R'] : [])]
  const control = congestion === undefined ? [] : ['-C', congestion]
  const { stdout } = await machine.exec('iperf3', [...options, ...times, ...control], {
    // a run that hangs is a result too
    signal: AbortSignal.timeout((seconds + 60) * 1000),
  })
  const { end, error } = JSON.parse(stdout) as {
    error?: string
    end?: { sum_received?: { bits_per_second?: number } }
  }
  const rate = end?.sum_received?.bits_per_second
  if (error !== undefined || rate === undefined) throw new Error(`iperf3: ${error ?? 'no result'}`)
  return rate / 1e6
}
