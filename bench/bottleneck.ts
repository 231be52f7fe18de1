/**
 * What a tunnel takes of a bottleneck that it shares with a TCP of the kernel.
 *
 *     node dist/bench/bottleneck.js [--seconds=20] [--rate=50] [--trips=20] [--queues=1,2] [--controls=cubic,bbr]
 *
 * Two network namespaces, and between them a wire of `rate` Mbit/s with a round trip of `trips` ms and a queue of so many
 * round trips before it (bench/forward/link.c). iperf3 sends through the tunnel, and another one beside it, both for the
 * whole time; either may begin first. What the wire carried of each is counted while both send, after five seconds.
 * Needs root, iperf3 and gcc.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/cli/clock.js'
import { sleep } from '../src/net/index.js'
import { wormhole } from './forward/carrier.js'
import { IPERF_PORT, IperfServer, iperf } from './forward/iperf.js'
import { FAR, Link } from './forward/link.js'
import { needLaboratory } from './laboratory.js'

const AVAILABLE = '/proc/sys/net/ipv4/tcp_available_congestion_control'
/** The second server's port, for the flow beside the tunnel. */
const BESIDE_PORT = IPERF_PORT + 1
/** How much later the second flow begins, and how long both have to find their shares, in s. */
const LATER = 3
const SETTLE = 5

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    rate: { type: 'string', default: '50' },
    trips: { type: 'string', default: '20' },
    queues: { type: 'string', default: '1,2' },
    controls: { type: 'string', default: 'cubic,bbr' },
  },
})
const seconds = Number(values.seconds)
const rate = Number(values.rate)
const available = readFileSync(AVAILABLE, 'utf8').trim().split(' ')

needLaboratory()
const directory = mkdtempSync(join(tmpdir(), 'plexus-bottleneck-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
const program = Link.build(directory)
if (program === undefined) {
  process.stderr.write('No C compiler. On Debian: apt-get install gcc libc6-dev\n')
  process.exit(1)
}

process.stdout.write(
  '| round trip | queue | beside | first | tunnel, Mbit/s | the other, Mbit/s | share of the tunnel |\n',
)
process.stdout.write(`|${' --- |'.repeat(7)}\n`)
for (const trip of values.trips.split(',').map(Number)) {
  for (const queue of values.queues.split(',').map(Number)) {
    for (const control of values.controls.split(',')) {
      if (!available.includes(control)) {
        process.stdout.write(`This kernel has no ${control}: ${available.join(' ')}\n`)
        continue
      }
      for (const first of ['tunnel', 'other', 'both'] as const) await shared(trip, queue, control, first)
    }
  }
}

/** Both flows over one wire; a row of the table. */
async function shared(
  trip: number,
  queue: number,
  control: string,
  first: 'tunnel' | 'other' | 'both',
): Promise<void> {
  const bottleneck = { rate, queue: trip * queue }
  const link = await Link.open(
    { name: 'shared', roundTrip: trip, loss: 0, overtaken: 0, bottleneck },
    program,
  )
  const servers = [await IperfServer.start(link.far), await IperfServer.start(link.far, BESIDE_PORT)]
  const carrier = await wormhole(link, IPERF_PORT, mkdtempSync(join(directory, 'wormhole-')))
  const lasts = LATER + SETTLE + seconds + 1
  const wait = (s: number) => sleep(systemClock, s * 1000)
  const tunnel = async () => {
    if (first === 'other') await wait(LATER)
    await iperf(link.near, carrier.target, { streams: 1, way: 'up' }, lasts)
  }
  const beside = async () => {
    if (first === 'tunnel') await wait(LATER)
    const run = { streams: 1, way: 'up', congestion: control } as const
    await iperf(link.near, { address: FAR, port: BESIDE_PORT }, run, lasts)
  }
  const count = async () => {
    await wait(1 + LATER + SETTLE)
    const before = await link.passed()
    await wait(seconds)
    const after = await link.passed()
    return [after.udp - before.udp, after.tcp - before.tcp].map((bytes) => (bytes * 8) / seconds / 1e6)
  }
  const [[udp = 0, tcp = 0]] = await Promise.all([count(), tunnel(), beside()])
  const share = (100 * udp) / (udp + tcp)
  const cells = [`${trip} ms`, `${trip * queue} ms`, control, first, udp.toFixed(1), tcp.toFixed(1)]
  process.stdout.write(`| ${cells.join(' | ')} | ${share.toFixed(0)}% |\n`)
  await carrier.close()
  for (const server of servers) await server.close()
  await link.close()
}
