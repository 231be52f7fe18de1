/**
 * What a hostile peer can do to the others: while it does its worst, another peer pairs, and a third one's tunnel carries
 * an echo and as much as it can.
 *
 *     node dist/bench/hostile.js [--seconds=60] [attack…]
 *
 * Each attack by itself, then all at once, for so long; with names of attacks only those: several at once with a plus sign
 * between them, or `all`. One machine, over the
 * loopback, with a shared directory as the rendezvous. Prints a table.
 */
import { sleep } from '../src/net/index.js'
import { systemClock } from '../src/system/index.js'
import { ATTACKS } from '../test/support/hostile/attacks.js'
import { Stage } from '../test/support/hostile/stage.js'
import { percentile } from './median.js'

/** What must hold meanwhile. */
const MOST_PAIRING = 3000
const MOST_ECHO = 50
const LEAST_SHARE = 0.4

const words = process.argv.slice(2)
const seconds = Number(words.find((word) => word.startsWith('--seconds='))?.split('=')[1] ?? 60)
const wanted = words.filter((word) => !word.startsWith('--'))

interface Measured {
  readonly pairing: number
  readonly echo: number
  readonly mbit: number
  readonly lines: number
}

/** Pairs every few seconds throughout, and echoes in the first half, carries in the second. */
async function measure(stage: Stage, ms: number): Promise<Measured> {
  const before = stage.lines
  const over = new AbortController()
  const pairings: number[] = []
  const pairing = (async () => {
    while (!over.signal.aborted) {
      pairings.push(await stage.pair())
      await sleep(systemClock, 1000, over.signal).catch(() => {})
    }
  })()
  const echoes = await stage.echoes(ms / 2)
  const mbit = await stage.throughput(ms / 2)
  over.abort()
  await pairing
  const worst = pairings.some(Number.isNaN) ? Number.NaN : Math.max(...pairings)
  return { pairing: worst, echo: percentile(echoes, 0.99), mbit, lines: stage.lines - before }
}

const names = ATTACKS.map(({ name }) => name)
const rounds: readonly (readonly [string, readonly string[]])[] = (
  wanted.length > 0 ? wanted : [...names, 'all']
).map((word) => [word, word === 'all' ? names : word.split('+')])
let failed = 0
const row = (name: string, { pairing, echo, mbit, lines }: Measured, share: number) => {
  const cells = [
    name,
    Math.round(pairing),
    echo.toFixed(1),
    Math.round(mbit),
    `${Math.round(share * 100)}%`,
    lines,
  ]
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}
process.stdout.write(
  '| attack | slowest pairing, ms | echo at p99, ms | Mbit/s | of alone | lines of log |\n',
)
process.stdout.write('| --- | --- | --- | --- | --- | --- |\n')
for (const [name, attacks] of rounds) {
  // each has an accepter of its own, which no other attack has worn out
  const stage = await Stage.open()
  try {
    const alone = await measure(stage, Math.min(10, seconds) * 1000)
    row('none', alone, 1)
    const end = await stage.attack(attacks)
    await sleep(systemClock, 1000)
    const measured = await measure(stage, seconds * 1000)
    await end()
    const share = measured.mbit / alone.mbit
    row(name, measured, share)
    const good = measured.pairing <= MOST_PAIRING && measured.echo <= MOST_ECHO && share >= LEAST_SHARE
    if (!good) failed++
  } finally {
    await stage.close()
  }
}
process.exitCode = failed === 0 ? 0 : 1
