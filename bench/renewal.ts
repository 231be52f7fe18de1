/**
 * Whether a renewal of keys, or a proof of identity, shows in what a tunnel carries: two processes on the loopback, one
 * sends as fast as it can, the other one notes when what came. Rounds without either and with both take turns.
 *
 *     node dist/bench/renewal.js [--rounds=5] [--seconds=3] [--every=200 ms] [--delay=ms one way]
 */
import { fork } from 'node:child_process'
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Logger, silent, TokenBucket, UdpPort } from '../src/net/index.js'
import { systemClock, systemRandom } from '../src/system/index.js'
import { openTunnel, type Tunnel, type Witness } from '../src/wormhole/tunnel/index.js'
import { Relay } from '../test/support/relay.js'
import { median } from './median.js'

/** What comes within so many ms of a renewal or a proof is set against what comes at any other time. */
const NEAR = 50

const NEVER = Number.POSITIVE_INFINITY

function option(name: string, fallback: number): number {
  const given = process.argv.find((word) => word.startsWith(`--${name}=`))
  return given === undefined ? fallback : Number(given.slice(name.length + 3))
}

/** Real signatures of RSA 3072, as `plexus id new` makes keys; each side trusts its own, which costs the same. */
function witness(): Witness {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const fingerprint = Buffer.alloc(32)
  const aside = (work: (done: (error: Error | null, value?: unknown) => void) => void) =>
    new Promise<unknown>((resolve, reject) =>
      work((error, value) => (error ? reject(error) : resolve(value))),
    )
  return {
    async sign(statement) {
      const signature = await aside((done) => sign('sha256', statement, privateKey, done))
      return [{ fingerprint, signature: signature as Buffer }]
    },
    async judge(statement, signatures) {
      for (const { signature } of signatures) {
        await aside((done) => verify('sha256', statement, publicKey, signature, done))
      }
      return { is: 'good' }
    },
  }
}

function start(port: UdpPort, remote: number, initiator: boolean, every: number, log: Logger): Tunnel {
  return openTunnel({
    port,
    initiator,
    remote: { address: '127.0.0.1', port: remote },
    key: Buffer.alloc(32, 7),
    clock: systemClock,
    random: systemRandom,
    log,
    signal: new AbortController().signal,
    renewalTimes: { every, datagrams: NEVER, grace: 60_000 },
    proofTimes: { every: every * 1.3, grace: 60_000 },
    upkeepBudget: new TokenBucket({ burst: 1e6, rate: 1e6 }, 0),
    ...(every < NEVER ? { witness: witness() } : {}),
  })
}

interface Figures {
  readonly mbits: number
  readonly renewals: number
  readonly proofs: number
  /** Mbit/s within NEAR of either, and at other times; the longest time without a byte, in ms, for both. */
  readonly near: { readonly mbits: number; readonly gap: number }
  readonly far: { readonly mbits: number; readonly gap: number }
}

/** The end that takes. */
async function serve(): Promise<void> {
  const port = UdpPort.open({ address: '127.0.0.1' })
  process.send?.(port.local(4)?.port)
  const [{ remote, every }] = (await once(process, 'message')) as [{ remote: number; every: number | null }]
  const came: { readonly at: number; readonly bytes: number }[] = []
  const marks: { readonly at: number; readonly what: 'renewal' | 'proof' }[] = []
  const mark = (_: object, sentence: string) => {
    if (/keys were renewed/.test(sentence)) marks.push({ at: performance.now(), what: 'renewal' })
    if (/has proven its identity/.test(sentence)) marks.push({ at: performance.now(), what: 'proof' })
  }
  const log: Logger = { ...silent, debug: mark, info: mark, child: () => log }
  const tunnel = start(port, remote, false, every ?? NEVER, log)
  tunnel.onstream((stream) => {
    stream.on('error', () => {})
    stream.on('data', (data: Buffer) => came.push({ at: performance.now(), bytes: data.length }))
  })
  await once(process, 'message')
  // the first half second is the start-up's
  const from = (came[0]?.at ?? 0) + 500
  const counted = came.filter(({ at }) => at >= from)
  const close = (at: number) => marks.some((one) => at >= one.at - 5 && at < one.at + NEAR)
  const of = (near: boolean) => {
    let [bytes, ms, gap] = [0, 0, 0]
    for (const [index, { at, bytes: more }] of counted.entries()) {
      const before = counted[index - 1]?.at ?? at
      if (close(at) !== near) continue
      bytes += more
      ms += at - before
      gap = Math.max(gap, at - before)
    }
    return { mbits: ms === 0 ? Number.NaN : (bytes * 8) / ms / 1000, gap }
  }
  const took = (counted.at(-1)?.at ?? from) - from
  const seen = marks.filter(({ at }) => at >= from)
  const figures: Figures = {
    mbits: (counted.reduce((sum, { bytes }) => sum + bytes, 0) * 8) / took / 1000,
    renewals: seen.filter(({ what }) => what === 'renewal').length,
    proofs: seen.filter(({ what }) => what === 'proof').length,
    near: of(true),
    far: of(false),
  }
  process.send?.(figures)
}

async function round(every: number, seconds: number, delay: number): Promise<Figures> {
  const child = fork(fileURLToPath(import.meta.url), ['serve'])
  const [childPort] = (await once(child, 'message')) as [number]
  const port = UdpPort.open({ address: '127.0.0.1' })
  const own = port.local(4)?.port ?? 0
  const relay = delay > 0 ? await Relay.open(own, childPort, { delay }) : undefined
  child.send({ remote: relay?.far ?? own, every: every === NEVER ? null : every })
  const tunnel = start(port, relay?.near ?? childPort, true, every, silent)
  await tunnel.ready
  const stream = tunnel.open(Buffer.from('s'))
  stream.on('error', () => {})
  const chunk = Buffer.alloc(64 * 1024, 1)
  const write = () => {
    while (stream.write(chunk));
  }
  stream.on('drain', write)
  write()
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000 + 500))
  child.send('figures')
  const [figures] = (await once(child, 'message')) as [Figures]
  await tunnel.close()
  relay?.close()
  child.kill()
  return figures
}

async function measure(): Promise<void> {
  const [rounds, seconds] = [option('rounds', 5), option('seconds', 3)]
  const [every, delay] = [option('every', 200), option('delay', 0)]
  const [plain, renewed]: [Figures[], Figures[]] = [[], []]
  for (let time = 0; time < rounds; time++) {
    plain.push(await round(NEVER, seconds, delay))
    renewed.push(await round(every, seconds, delay))
  }
  const of = (all: readonly Figures[], take: (one: Figures) => number) => median(all.map(take)).toFixed(0)
  const gap = (all: readonly Figures[], take: (one: Figures) => number) => median(all.map(take)).toFixed(1)
  const count = (take: (one: Figures) => number) => renewed.reduce((sum, one) => sum + take(one), 0)
  console.log(`medians of ${rounds} rounds of ${seconds} s each, ${delay} ms one way`)
  console.log(
    `without: ${of(plain, (one) => one.mbits)} Mbit/s, longest pause ${gap(plain, (one) => one.far.gap)} ms`,
  )
  const times = `${count((one) => one.renewals)} renewals and ${count((one) => one.proofs)} proofs`
  console.log(`with ${times}: ${of(renewed, (one) => one.mbits)} Mbit/s`)
  console.log(
    `  within ${NEAR} ms of one: ${of(renewed, (one) => one.near.mbits)} Mbit/s, longest pause ${gap(renewed, (one) => one.near.gap)} ms`,
  )
  console.log(
    `  at other times: ${of(renewed, (one) => one.far.mbits)} Mbit/s, longest pause ${gap(renewed, (one) => one.far.gap)} ms`,
  )
  process.exit()
}

await (process.argv.includes('serve') ? serve() : measure())
