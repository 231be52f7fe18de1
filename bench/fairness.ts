/**
 * One process with two tunnels: through one of them an authentic peer floods with frames that cost much, through the other
 * an honest one has 64 bytes echoed every 5 ms. Prints round trips of the echo alone and while the other one floods.
 *
 *     node dist/bench/fairness.js [--checkout=directory] [--seconds=5] [--rate=datagrams a second] [flood…]
 *
 * `checkout` is another version, built, whose process is measured in place of this one's. The peer that floods has a
 * process of its own, at the lowest priority; everything is on the loopback.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { silent, sleep, UdpPort } from '../src/net/index.js'
import { systemClock, systemRandom } from '../src/system/index.js'
import { encodeHeader } from '../src/wormhole/header.js'
import { openTunnel } from '../src/wormhole/index.js'
import { floods, RawTunnel } from '../test/support/hostile/raw-tunnel.js'
import { Service } from '../test/support/services.js'
import { median, percentile } from './median.js'

const HERE = fileURLToPath(new URL('../..', import.meta.url))
const KEY = Buffer.alloc(32, 9)
const SELF = fileURLToPath(import.meta.url)
const at = (port: number) => ({ address: '127.0.0.1', port })

function option(name: string, fallback: string): string {
  return process.argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3) ?? fallback
}

/** The process that is measured: what it needs is told by its arguments. */
async function serve(checkout: string, echo: number, remotes: readonly number[]): Promise<void> {
  const [net, system, wormhole] = await Promise.all(
    ['net', 'system', 'wormhole'].map((name) => import(`${checkout}/dist/src/${name}/index.js`)),
  )
  const surroundings = { clock: system.systemClock, log: net.silent }
  const service = { kind: 'tcp', host: '127.0.0.1', port: echo }
  const exports = [{ name: 'echo', service, peers: [] }]
  const forwarding = await wormhole.Forwarding.open({ exports, imports: [], wait: 0 }, surroundings)
  const ports = remotes.map((remote, index) => {
    const port = net.UdpPort.open({ address: '127.0.0.1' })
    const peer = index === 0 ? 'alice@a.test/1' : 'mallory@m.test/1'
    const signal = new AbortController().signal
    const tunnel = wormhole.openTunnel({
      ...surroundings,
      port,
      initiator: false,
      remote: at(remote),
      key: KEY,
      random: system.systemRandom,
      signal,
      peer,
    })
    void forwarding.carry(peer, tunnel).then((end: unknown) => console.error(peer, end))
    return port.local(4).port
  })
  process.stdout.write(`${JSON.stringify(ports)}\n`)
}

/** The process that floods: so many datagrams a second of one kind. */
async function flood(own: number, remote: number, rate: number, name: string): Promise<void> {
  const port = UdpPort.open({ address: '127.0.0.1', port: own })
  const raw = await RawTunnel.open(port, at(remote), KEY)
  const one = floods().get(name)?.()
  if (!one) throw new RangeError(`no such flood: ${name}`)
  process.stdout.write('begun\n')
  const began = systemClock.now()
  let sent = 0
  for (;;) {
    while (sent < ((systemClock.now() - began) / 1000) * rate) {
      one(raw)
      sent++
    }
    await sleep(systemClock, 1)
  }
}

async function answer(child: ChildProcess): Promise<string> {
  const [data] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  return data.toString()
}

function start(words: readonly string[]): ChildProcess {
  return spawn(process.execPath, [SELF, ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
}

function free(): number {
  const port = UdpPort.open({ address: '127.0.0.1' })
  const number = port.local(4)?.port ?? 0
  void port.close()
  return number
}

async function measure(name: string, checkout: string, seconds: number, rate: number): Promise<void> {
  const echo = await Service.echo()
  const port = UdpPort.open({ address: '127.0.0.1' })
  const [own, hostile] = [port.local(4)?.port ?? 0, free()]
  const victim = start(['serve', checkout, String(echo.port), String(own), String(hostile)])
  const [remote = 0, target = 0] = JSON.parse(await answer(victim)) as number[]
  const { signal } = new AbortController()
  const common = { clock: systemClock, random: systemRandom, log: silent, signal }
  const tunnel = openTunnel({ ...common, port, initiator: true, remote: at(remote), key: KEY })
  await tunnel.ready
  const stream = tunnel.open(encodeHeader({ carries: 'stream', name: 'echo' }))
  stream.on('error', () => {})
  let heard = () => {}
  stream.on('data', () => heard())
  const echoes = async (ms: number) => {
    const took: number[] = []
    const until = systemClock.now() + ms
    while (systemClock.now() < until && !stream.destroyed) {
      const began = systemClock.now()
      stream.write(Buffer.alloc(64))
      await new Promise<void>((resolve) => {
        heard = resolve
        stream.once('close', resolve)
      })
      took.push(systemClock.now() - began)
      await sleep(systemClock, 5)
    }
    return took
  }
  await echoes(500)
  const alone = await echoes(1500)
  const attacker = spawn(
    'nice',
    ['-n', '19', process.execPath, SELF, 'flood', String(hostile), String(target), String(rate), name],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  await answer(attacker)
  await sleep(systemClock, 500)
  const during = await echoes(seconds * 1000)
  const cells = [
    name,
    median(alone).toFixed(1),
    percentile(alone, 0.99).toFixed(1),
    median(during).toFixed(1),
    percentile(during, 0.99).toFixed(1),
    during.length,
    stream.destroyed ? 'lost' : 'up',
  ]
  console.log(`| ${cells.join(' | ')} |`)
  attacker.kill()
  victim.kill()
  await Promise.all([once(attacker, 'exit'), once(victim, 'exit')])
  await tunnel.close()
  await echo.close()
}

const [mode = '', ...words] = process.argv.slice(2).filter((word) => !word.startsWith('--'))
if (mode === 'serve') {
  const [checkout = HERE, echo, ...remotes] = words
  await serve(checkout, Number(echo), remotes.map(Number))
} else if (mode === 'flood') {
  const [own, remote, rate, name = ''] = words
  await flood(Number(own), Number(remote), Number(rate), name)
} else {
  const names = mode === '' ? [...floods().keys()] : [mode, ...words]
  console.log('| flood | alone, median | alone, 99% | median, ms | 99%, ms | echoes | honest tunnel |')
  console.log('| --- | --- | --- | --- | --- | --- | --- |')
  for (const name of names) {
    await measure(
      name,
      option('checkout', HERE),
      Number(option('seconds', '5')),
      Number(option('rate', '600')),
    )
  }
  process.exit()
}
