/**
 * Paths for which a port has to be guessed, in full.
 *
 *     node dist/bench/search.js simulation [runs=10000] [word…]
 *     node dist/bench/search.js laboratory [runs=50] [word…]
 *
 * The first runs the punch in virtual time, the second real processes behind real NATs (needs root and nftables). A
 * word chooses the pairs whose name contains it.
 */
import { Lab, type SideType } from '../test/natlab/index.js'
import { type Outcome, PairingRig } from '../test/natlab/pairing-rig.js'
import { describe, simulate } from '../test/simulation/pairing.js'
import { GUESSES, guess } from '../test/simulation/scenarios.js'
import { median } from './median.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

const [mode = 'simulation', count, ...words] = process.argv.slice(2)
const print = (text: string) => process.stdout.write(`${text}\n`)
const chosen = (name: string) => words.length === 0 || words.some((word) => name.includes(word))

/** The share of runs, in percent, that had a path so many ms after the first probe. */
function within(times: readonly number[], runs: number, ms: number): string {
  return `${((100 * times.filter((time) => time <= ms).length) / runs).toFixed(2)}% within ${ms / 1000} s`
}

function simulated(runs: number): void {
  for (const [name, pair] of Object.entries(GUESSES).filter(([name]) => chosen(name))) {
    const probing: number[] = []
    const whole: number[] = []
    const packets: number[] = []
    let sockets = 0
    let wrong = 0
    for (let n = 0; n < runs; n++) {
      const one = guess(1, n, pair)
      const outcome = simulate(one)
      const { inviter, accepter, spent, searchBegan } = outcome
      packets.push(spent.inviter.packets + spent.accepter.packets)
      sockets = Math.max(sockets, spent.inviter.sockets + spent.accepter.sockets)
      if (outcome.verdict === 'disagreement' || outcome.verdict === 'crossed') {
        wrong++
        print(describe(one, outcome))
      }
      if (inviter.name !== 'passage' || accepter.name !== 'passage') continue
      const began = Math.max(0, one.lag)
      whole.push(inviter.after)
      probing.push(searchBegan === undefined ? inviter.after : began + inviter.after - searchBegan)
    }
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
    print(
      `${name}: ${whole.length} of ${runs}, of probing ${within(probing, runs, 12_000)}, ${within(probing, runs, 35_000)}; ` +
        `inviter's time median ${(median(whole) / 1000).toFixed(1)} s; packets of both sides mean ${Math.round(sum(packets) / runs)}, ` +
        `most ${Math.max(...packets)}, sockets most ${sockets}; not agreed ${wrong}`,
    )
  }
}

/** Inviter's and accepter's side: the plain case to compare with comes first. */
const SIDES: readonly (readonly [SideType, SideType])[] = [
  ['port-restricted', 'port-restricted'],
  ['port-restricted', 'symmetric'],
  ['symmetric', 'port-restricted'],
  ['port-restricted', 'symmetric-sequential'],
  ['symmetric-sequential', 'port-restricted'],
  ['symmetric-sequential', 'symmetric-sequential'],
]

const SPENT = /^tried (\d+) packets and (\d+) further sockets/

/** The number in the brackets of the pattern, of all that was said in the session. */
function said(story: string, which: 1 | 2): number[] {
  return story.split('\n').flatMap((line) => {
    const text = line.replace(/^\+\d+ \w+ (?:\[\w*\] )?/, '')
    const found = SPENT.exec(text)
    return found ? [Number(found[which])] : []
  })
}

async function inLaboratory(runs: number): Promise<void> {
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
  for (const [from, to] of SIDES) {
    const name = `${from} invites ${to}`
    if (!chosen(name)) continue
    const lab = await Lab.open()
    const rig = await PairingRig.open(lab, [ALICE, BOB])
    const a = await lab.side('a', from)
    const b = await lab.side('b', to)
    const outcomes: Outcome[] = []
    for (let run = 0; run < runs; run++) {
      const accepter = await rig.accepter(b, BOB)
      const outcome = await rig.pair(a, ALICE, BOB, accepter)
      if (!outcome.paired) print(`${name} failed:\n${outcome.story}`)
      outcomes.push(outcome)
      // what worked is forgotten: each run is a first one
      await accepter.stop()
      await rig.forget()
    }
    const good = outcomes.filter(({ paired }) => paired)
    const times = good.map(({ both }) => both)
    const packets = good.map(({ story }) => sum(said(story, 1)))
    const sockets = good.map(({ story }) => sum(said(story, 2)))
    print(
      `${name}: ${good.length} of ${runs}, median ${Math.round(median(times))} ms, slowest ${Math.max(...times)} ms; ` +
        `packets of both sides median ${median(packets)}, most ${Math.max(...packets)}; sockets most ${Math.max(...sockets)}`,
    )
    if (good.length < runs) process.exitCode = 1
    await rig.close()
    await lab.close()
  }
}

if (mode === 'simulation') simulated(Number(count ?? 10_000))
else await inLaboratory(Number(count ?? 50))
