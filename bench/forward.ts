/**
 * A TCP service through the hole, side by side with what else could carry it, over the same link.
 *
 *     node dist/bench/forward.js [--seconds=10] [--links=none,20ms,…] [--carriers=raw,cubic,wormhole,ssh,openvpn]
 *                                      [--runs=1up,1down,8up,8down]
 *
 * iperf3 with 1 and with 8 streams in both directions, one run after the other through the same tunnel: raw, through the wormhole, through `ssh -L`, through openvpn by its
 * hook (UDP, AES-256-GCM); then an echo of 64 bytes, and the first byte through a fresh connection. The links are a
 * cable between two network namespaces, and a wire of the bench's own (bench/forward/link.c) with delay and loss.
 * With `--carriers=…,cpp` the C++ wormhole too, of the folder that PLEXUS_PEERS names.
 * Needs root, iperf3, openssh-server, openvpn, openssl, and gcc for the wire.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import {
  type Carrier,
  cpp,
  cpuSeconds,
  cubic,
  openvpn,
  raw,
  type Setup,
  sshForward,
  wormhole,
} from './forward/carrier.js'
import type { Latency } from './forward/echo.js'
import { IPERF_PORT, IperfServer, iperf, type Run } from './forward/iperf.js'
import { Link, type Quality } from './forward/link.js'

const ECHO = fileURLToPath(new URL('./forward/echo.js', import.meta.url))
const ECHO_PORT = 5202
const CONGESTION = '/proc/sys/net/ipv4/tcp_congestion_control'

const LINKS: readonly Quality[] = [
  { name: 'cable', roundTrip: 0, loss: 0, overtaken: 0, bare: true },
  { name: 'none', roundTrip: 0, loss: 0, overtaken: 0 },
  ...[5, 10, 20, 50, 100].map((roundTrip) => ({ name: `${roundTrip}ms`, roundTrip, loss: 0, overtaken: 0 })),
  { name: 'none1%', roundTrip: 0, loss: 1, overtaken: 0 },
  ...[5, 10, 20, 50, 100].map((roundTrip) => ({
    name: `${roundTrip}ms1%`,
    roundTrip,
    loss: 1,
    overtaken: 0,
  })),
]
const USUAL = 'cable,none,20ms,100ms,20ms1%'
const CARRIERS: Readonly<Record<string, Setup>> = { raw, cubic, wormhole, cpp, ssh: sshForward, openvpn }

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    links: { type: 'string', default: USUAL },
    runs: { type: 'string', default: '1up,1down,8up,8down' },
    carriers: { type: 'string', default: 'raw,cubic,wormhole,ssh,openvpn' },
  },
})
const seconds = Number(values.seconds)
const RUNS: readonly Run[] = values.runs
  .split(',')
  .filter(Boolean)
  .map((word) => ({
    streams: Number.parseInt(word, 10),
    way: word.endsWith('down') ? 'down' : 'up',
  }))
const directory = mkdtempSync(join(tmpdir(), 'plexus-forward-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))

const program = Link.build(directory)
if (program === undefined)
  say('No C compiler: only the cable is measured. On Debian: apt-get install gcc libc6-dev')
say(`Congestion control of this machine: ${readFileSync(CONGESTION, 'utf8').trim()}`)
for (const quality of LINKS) {
  if (!values.links.split(',').includes(quality.name) || (program === undefined && !quality.bare)) continue
  await measure(quality)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** All carriers over one link, a table of them. */
async function measure(quality: Quality): Promise<void> {
  const link = await Link.open(quality, program)
  const server = await IperfServer.start(link.far)
  const echo = link.far.spawn(process.execPath, [ECHO, 'serve', String(ECHO_PORT)], { stdio: 'ignore' })
  say(`\n${title(quality)}; Mbit/s, and times raw TCP`)
  say('')
  const columns = [
    '',
    ...RUNS.map(({ streams, way }) => `${streams} ${way}`),
    'CPU s/GB',
    'echo, ms',
    'first byte, ms',
  ]
  say(`| ${columns.join(' | ')} |`)
  say(`|${' --- |'.repeat(columns.length)}`)
  const base = new Map<Run, number>()
  for (const name of values.carriers.split(',')) {
    const setup = CARRIERS[name]
    if (setup) say(`| ${(await row(link, name, setup, base)).join(' | ')} |`)
  }
  echo.kill()
  await server.close()
  const carried = await link.close()
  if (carried)
    say(
      `\nThe wire: ${carried.packets} packets, ${carried.lost} lost on purpose, ${carried.overflowed} for want of room.`,
    )
}

function title({ name, roundTrip, loss, bare }: Quality): string {
  if (bare) return `**${name}**: two namespaces, nothing between them`
  const added = roundTrip === 0 && loss === 0 ? 'nothing added, so raw TCP is the ceiling of the wire' : ''
  return `**${name}**: ${added || `${roundTrip} ms round trip, ${loss}% loss`}`
}

async function row(link: Link, name: string, setup: Setup, base: Map<Run, number>): Promise<string[]> {
  const open = async <T>(port: number, use: (carrier: Carrier) => Promise<T>): Promise<T> => {
    const place = mkdtempSync(join(directory, `${name}-`))
    const carrier = await setup(link, port, place)
    try {
      return await use(carrier)
    } finally {
      await carrier.close()
    }
  }
  try {
    const rates = await open(IPERF_PORT, async (carrier) => {
      const cells: string[] = []
      let megabits = 0
      const congestion = carrier.congestion === undefined ? {} : { congestion: carrier.congestion }
      const before = cpuSeconds(carrier.pids)
      for (const run of RUNS) {
        const rate = await iperf(link.near, carrier.target, { ...run, ...congestion }, seconds).catch(
          () => Number.NaN,
        )
        if (name === 'raw') base.set(run, rate)
        // the second that iperf3 leaves out costs too
        megabits += rate * (seconds + 1)
        const ratio = rate / (base.get(run) ?? Number.NaN)
        cells.push(name === 'raw' ? rate.toFixed(0) : `${rate.toFixed(0)} (${ratio.toFixed(2)})`)
      }
      const used = cpuSeconds(carrier.pids) - before
      const counted = carrier.pids.length > 1
      return [...cells, counted ? ((used * 8000) / megabits).toFixed(1) : '']
    })
    const times = await open(ECHO_PORT, async ({ target }) => {
      const count = link.quality.roundTrip > 0 ? 50 : 2000
      const words = [ECHO, 'ask', target.address, String(target.port), String(count)]
      const { stdout } = await link.near.exec(process.execPath, words, {
        signal: AbortSignal.timeout(120_000),
      })
      const { echo, first } = JSON.parse(stdout) as Latency
      const trips =
        link.quality.roundTrip > 0 ? ` (${(first / link.quality.roundTrip).toFixed(2)} trips)` : ''
      return [echo.toFixed(2), `${first.toFixed(2)}${trips}`]
    })
    return [name, ...rates, ...times]
  } catch (error) {
    return [name, `failed: ${error instanceof Error ? error.message.split('\n')[0] : error}`]
  }
}
