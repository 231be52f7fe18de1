/**
 * What a large repository costs: how soon an accepter is ready and what it has resident, with 1 and with 10,000
 * peers in turns, and how long the list, a short name and a sender's certificate take.
 *
 *     node dist/bench/identities.js [rounds=5]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Repository } from '../src/identity/index.js'
import { largeRepository, type ReadyFigures, untilReady } from '../test/support/large-repository.js'

const rounds = Number(process.argv[2] ?? 5)
const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

const scratch = await mkdtemp(join(tmpdir(), 'plexus-bench-'))
try {
  const sizes = [1, 10_000]
  const figures = new Map<number, ReadyFigures[]>(sizes.map((size) => [size, []]))
  for (const size of sizes) await largeRepository(join(scratch, String(size)), size)
  for (let round = 0; round < rounds; round++) {
    for (const size of sizes) figures.get(size)?.push(await untilReady(join(scratch, String(size)), scratch))
  }
  for (const [size, all] of figures) {
    const took = all.map((one) => one.took)
    process.stdout.write(
      `${size} peers: ready after ${Math.round(median(took))} ms (at most ${Math.round(Math.max(...took))}), ` +
        `${Math.round(median(all.map((one) => one.resident)) / 1024)} MiB resident, ` +
        `${Math.round(median(all.map((one) => one.read)) / 1024)} KiB read\n`,
    )
  }
  const repository = await Repository.open(join(scratch, '10000'))
  const host = { owner: 'host@px.test', pin: 'server' }
  const peer = { owner: 'p9999@px.test', pin: 'pin9999' }
  for (const [what, work] of [
    ['list', () => repository.list()],
    ['resolve a pin', () => repository.resolve('pin9999')],
    ['resolve an own pin', () => repository.resolve('server', { own: true })],
    ['read a sender’s certificate', () => repository.certificates(peer, { host, date: Date.now() })],
    ['look at its files', () => repository.stamp(host)],
  ] as const) {
    const times: number[] = []
    for (let round = 0; round < rounds * 4; round++) {
      const start = performance.now()
      await work()
      times.push(performance.now() - start)
    }
    process.stdout.write(
      `${what}: ${median(times).toFixed(2)} ms, at most ${Math.max(...times).toFixed(2)}\n`,
    )
  }
} finally {
  await rm(scratch, { recursive: true, force: true })
}
