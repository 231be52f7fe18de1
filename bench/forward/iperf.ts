import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { systemClock } from '../../src/cli/clock.js'
import { sleep } from '../../src/net/index.js'
import type { Machine } from '../../test/natlab/machine.js'

/** The port of an iperf3 server here, unless another one is named. */
export const IPERF_PORT = 5201

/** How many streams, and which way: `up` is from the near machine to the far one. */
export interface Run {
  readonly streams: number
  readonly way: 'up' | 'down'
  /** What is asked of the kernel, if not what the machine has. */
  readonly congestion?: string
}

interface Target {
  readonly address: string
  readonly port: number
}

/** iperf3 as a server, on all addresses of a machine, until `close`. */
export class IperfServer {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(machine: Machine, port = IPERF_PORT): Promise<IperfServer> {
    const options = ['-s', '--forceflush', '-p', String(port)]
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

/** How often a run is tried: the server may not be through with the one before, and says it is busy. */
const ATTEMPTS = 3
/** Before the next attempt, in ms. */
const PAUSE = 1000

/**
 * Sends for `seconds`, after one second that does not count.
 * @returns what arrived, in Mbit/s
 * @throws Error with what iperf3 says
 */
export async function iperf(machine: Machine, target: Target, run: Run, seconds: number): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await attempted(machine, target, run, seconds)
    } catch (thrown) {
      if (attempt === ATTEMPTS) throw thrown
      process.stderr.write(`once more: ${thrown instanceof Error ? thrown.message : thrown}\n`)
      await sleep(systemClock, PAUSE)
    }
  }
}

async function attempted(machine: Machine, target: Target, run: Run, seconds: number): Promise<number> {
  const { streams, way, congestion } = run
  const options = ['-c', target.address, '-p', String(target.port), '-P', String(streams), '-J']
  const times = ['-t', String(seconds), '-O', '1', ...(way === 'down' ? ['-R'] : [])]
  const control = congestion === undefined ? [] : ['-C', congestion]
  const { stdout, stderr } = await machine.exec('iperf3', [...options, ...times, ...control], {
    // a run that hangs is a result too
    signal: AbortSignal.timeout((seconds + 60) * 1000),
  })
  if (!stdout.startsWith('{')) throw new Error(`iperf3: ${stdout}${stderr}`)
  const { end, error } = JSON.parse(stdout) as {
    error?: string
    end?: { sum_received?: { bits_per_second?: number } }
  }
  const rate = end?.sum_received?.bits_per_second
  if (error !== undefined || rate === undefined) throw new Error(`iperf3: ${error ?? 'no result'}`)
  return rate / 1e6
}
