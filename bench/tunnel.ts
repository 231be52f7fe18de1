/**
 * What the tunnel carries, without anything around it: two processes on the loopback, all of it encrypted.
 *
 *     node dist/bench/tunnel.js [--streams=1] [--seconds=3] [--delay=ms one way] [--loss=0.01] [--reordering=0.01]
 *     node dist/bench/tunnel.js --crowd=1000 --bytes=1000000     so many streams at once, each echoing so much
 *     node dist/bench/tunnel.js --short=10000                    so many streams in a row, each echoing 100 bytes
 *     node dist/bench/tunnel.js --volume=1000000000 --loss=0.01 --reordering=0.01     one stream, with its checksum
 */
import { type ChildProcess, fork } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { silent, UdpPort } from '../src/net/index.js'
import { systemBudget, systemClock, systemRandom } from '../src/system/index.js'
import { openTunnel, type Tunnel } from '../src/wormhole/tunnel/index.js'
import { Relay } from '../test/support/relay.js'

const KEY = Buffer.alloc(32, 7)

function option(name: string, fallback: number): number {
  const given = process.argv.find((word) => word.startsWith(`--${name}=`))
  return given === undefined ? fallback : Number(given.slice(name.length + 3))
}

function start(port: UdpPort, remote: number, initiator: boolean): Tunnel {
  const signal = new AbortController().signal
  const common = {
    clock: systemClock,
    random: systemRandom,
    log: silent,
    signal,
    ...(option('share', 0) ? { share: systemBudget.share('peer') } : {}),
  }
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
    else if (header.toString() === 'h') {
      const hash = createHash('sha256')
      stream.on('data', (data: Buffer) => hash.update(data)).on('end', () => stream.end(hash.digest('hex')))
    } else stream.on('data', (data: Buffer) => (bytes += data.length)).on('end', () => stream.end())
  })
  process.on('message', () => {
    process.send?.({ bytes, cpu: process.cpuUsage(), rss: process.memoryUsage.rss(), stats: tunnel.stats() })
  })
}

interface Figures {
  readonly bytes: number
  readonly cpu: NodeJS.CpuUsage
  readonly rss: number
  readonly stats: ReturnType<Tunnel['stats']>
}

let asked: Promise<unknown> = Promise.resolve()

/** The figures of the other end: one question at a time, or an answer would be taken for that of another. */
function ask(child: ChildProcess): Promise<Figures> {
  const answer = asked.then(async () => {
    child.send('figures')
    return ((await once(child, 'message')) as [Figures])[0]
  })
  asked = answer
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

  const crowd = option('crowd', 0)
  const short = option('short', 0)
  const volume = option('volume', 0)
  if (crowd > 0) await echoes(tunnel, child, crowd, option('bytes', 1_000_000))
  else if (short > 0) await inARow(tunnel, child, short)
  else if (volume > 0) await checksum(tunnel, volume)
  else {
    await latency(tunnel, delay > 0 ? 20 : 1000)
    await throughput(tunnel, child, streams, seconds)
  }
  child.kill()
  relay?.close()
  process.exit()
}

async function latency(tunnel: Tunnel, count: number): Promise<void> {
  const echo = tunnel.open(Buffer.from('e'))
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const at = performance.now()
    echo.write(Buffer.alloc(64))
    await once(echo, 'data')
    times.push(performance.now() - at)
  }
  times.sort((a, b) => a - b)
  console.log(
    `echo of 64 bytes: median ${times[times.length >> 1]?.toFixed(3)} ms, 99% ${times[Math.floor(times.length * 0.99)]?.toFixed(3)} ms`,
  )
}

async function throughput(
  tunnel: Tunnel,
  child: ChildProcess,
  streams: number,
  seconds: number,
): Promise<void> {
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
}

function megabytes(): number {
  return process.memoryUsage.rss() >> 20
}

async function echoes(tunnel: Tunnel, child: ChildProcess, count: number, bytes: number): Promise<void> {
  const before = { own: megabytes(), peer: (await ask(child)).rss >> 20 }
  const data = randomBytes(bytes)
  let most = 0
  let peerMost = 0
  const watch = setInterval(async () => {
    most = Math.max(most, megabytes())
    peerMost = Math.max(peerMost, (await ask(child)).rss >> 20)
  }, 100)
  const from = performance.now()
  let wrong = 0
  await Promise.all(
    Array.from({ length: count }, async () => {
      const stream = tunnel.open(Buffer.from('e'))
      let at = 0
      stream.on('data', (piece: Buffer) => {
        if (piece.compare(data, at, at + piece.length) !== 0) wrong++
        at += piece.length
      })
      stream.end(data)
      await once(stream, 'end')
      if (at !== bytes) wrong++
    }),
  )
  const ms = performance.now() - from
  clearInterval(watch)
  let after = await ask(child)
  for (let tries = 0; tries < 50 && tunnel.stats().streams + after.stats.streams > 0; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    after = await ask(child)
  }
  console.log(
    `${count} streams each echo ${bytes} bytes: ${(ms / 1000).toFixed(1)} s, ${((count * bytes * 8) / ms / 1000).toFixed(0)} Mbit/s each way, ${wrong} wrong; resident ${before.own} and ${before.peer} MB before, at most ${most} and ${peerMost}, ${megabytes()} and ${after.rss >> 20} after; ${tunnel.stats().streams + after.stats.streams} streams left`,
  )
}

async function inARow(tunnel: Tunnel, child: ChildProcess, count: number): Promise<void> {
  const data = randomBytes(100)
  const from = performance.now()
  for (let number = 0; number < count; number++) {
    const stream = tunnel.open(Buffer.from('e'))
    stream.resume().end(data)
    await once(stream, 'end')
    if ((number + 1) % (count / 5) === 0) {
      global.gc?.()
      const { rss, stats } = await ask(child)
      console.log(
        `${number + 1} streams in a row: ${((performance.now() - from) / (number + 1)).toFixed(3)} ms each; resident ${megabytes()} and ${rss >> 20} MB, heap ${process.memoryUsage().heapUsed >> 20} MB; ${tunnel.stats().streams + stats.streams} left`,
      )
    }
  }
}

async function checksum(tunnel: Tunnel, bytes: number): Promise<void> {
  const stream = tunnel.open(Buffer.from('h'))
  const hash = createHash('sha256')
  const from = performance.now()
  for (let left = bytes; left > 0; ) {
    const piece = randomBytes(Math.min(left, 64 * 1024))
    hash.update(piece)
    left -= piece.length
    if (!stream.write(piece)) await once(stream, 'drain')
  }
  stream.end()
  const [answer] = (await once(stream, 'data')) as [Buffer]
  const ms = performance.now() - from
  console.log(
    `${bytes} bytes: ${(ms / 1000).toFixed(1)} s, ${((bytes * 8) / ms / 1000).toFixed(0)} Mbit/s, ${tunnel.stats().retransmitted} datagrams lost; checksum ${answer.toString() === hash.digest('hex') ? 'right' : 'WRONG'}`,
  )
}

if (process.argv[2] === 'serve') void serve()
else void measure()
