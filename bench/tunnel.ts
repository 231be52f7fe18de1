/**
 * What the tunnel carries, without anything around it: two processes on the loopback, all of it encrypted.
 *
 *     node dist/bench/tunnel.js [--streams=1] [--seconds=3] [--delay=ms one way] [--loss=0.01] [--reordering=0.01]
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { silent, UdpPort } from '../src/net/index.js'
import { systemClock, systemRandom } from '../src/system/index.js'
import { openTunnel, type Tunnel } from '../src/wormhole/tunnel/index.js'
import { Relay } from '../test/support/relay.js'

const KEY = Buffer.alloc(32, 7)

function option(name: string, fallback: number): number {
  const given = process.argv.find((word) => word.startsWith(`--${name}=`))
  return given === undefined ? fallback : Number(given.slice(name.length + 3))
}

function start(port: UdpPort, remote: number, initiator: boolean): Tunnel {
  const signal = new AbortController().signal
  const common = { clock: systemClock, random: systemRandom, log: silent, signal }
  return openTunnel({ port, initiator, remote: { address: '127.0.0.1', port: remote }, key: KEY, ...common })
}

/** The other end: echoes what has the header `e`, swallows everything else. */
async function serve(): Promise<void> {
  const port = UdpPort.open({ address: '127.0.0.1' })
  process.send?.(port.local(4)?.port)
  const [remote] = (await once(process, 'message')) as [number]
  const tunnel = start(port, remote, false)
  let bytes = 0
  tunnel.onstream((stream, header) => {
    stream.on('error', () => {})
    if (header.toString() === 'e') stream.pipe(stream)
    else stream.on('data', (data: Buffer) => (bytes += data.length)).on('end', () => stream.end())
  })
  process.on('message', () => {
    process.send?.({ bytes, cpu: process.cpuUsage(), rss: process.memoryUsage.rss(), stats: tunnel.stats() })
  })
}

async function ask(child: ChildProcess) {
  child.send('figures')
  const [answer] = (await once(child, 'message')) as [
    { bytes: number; cpu: NodeJS.CpuUsage; rss: number; stats: ReturnType<Tunnel['stats']> },
  ]
  return answer
}

async function measure(): Promise<void> {
  const streams = option('streams', 1)
  const seconds = option('seconds', 3)
  const delay = option('delay', 0)
  const loss = option('loss', 0)
  const reordering = option('reordering', 0)
  const child = fork(fileURLToPath(import.meta.url), ['serve'])
  const [childPort] = (await once(child, 'message')) as [number]
  const port = UdpPort.open({ address: '127.0.0.1' })
  const own = port.local(4)?.port ?? 0
  const relay =
    delay + loss + reordering > 0 || process.argv.includes('--relay')
      ? await Relay.open(own, childPort, { delay, loss, reordering })
      : undefined
  child.send(relay?.far ?? own)
  const tunnel = start(port, relay?.near ?? childPort, true)
  await tunnel.ready

  const echo = tunnel.open(Buffer.from('e'))
  const times: number[] = []
  for (let i = 0; i < (delay > 0 ? 20 : 1000); i++) {
    const at = performance.now()
    echo.write(Buffer.alloc(64))
    await once(echo, 'data')
    times.push(performance.now() - at)
  }
  times.sort((a, b) => a - b)
  console.log(
    `echo of 64 bytes: median ${times[times.length >> 1]?.toFixed(3)} ms, 99% ${times[Math.floor(times.length * 0.99)]?.toFixed(3)} ms`,
  )

  const chunk = Buffer.alloc(64 * 1024, 1)
  const open = Array.from({ length: streams }, () => tunnel.open(Buffer.from('s')))
  const before = await ask(child)
  const cpu = process.cpuUsage()
  const from = performance.now()
  for (const stream of open) {
    stream.on('error', () => {})
    const write = () => {
      while (stream.write(chunk));
    }
    stream.on('drain', write)
    write()
  }
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  const after = await ask(child)
  const ms = performance.now() - from
  const used = process.cpuUsage(cpu)
  const share = (usage: { user: number; system: number }) =>
    `${Math.round((usage.user + usage.system) / ms / 10)}%`
  const theirs = {
    user: after.cpu.user - before.cpu.user,
    system: after.cpu.system - before.cpu.system,
  }
  console.log(
    `${streams} streams: ${(((after.bytes - before.bytes) * 8) / ms / 1000).toFixed(0)} Mbit/s; cpu ${share(used)} and ${share(theirs)}; resident ${process.memoryUsage.rss() >> 20} and ${after.rss >> 20} MB; lost ${tunnel.stats().retransmitted}`,
  )
  if (process.argv.includes('--figures')) console.log((tunnel as unknown as { figures: unknown }).figures)
  child.kill()
  relay?.close()
  process.exit()
}

if (process.argv[2] === 'serve') void serve()
else void measure()
