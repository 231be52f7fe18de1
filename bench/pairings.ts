/**
 * Pairings through real NATs in full: every pair of the list, so many times each, and how long they take.
 *
 *     node dist/bench/pairings.js [times=20] [word…]
 *
 * runs only pairs whose name contains one of the words. Needs root and nftables.
 */
import { Lab, SERVER_PREFIX, type Side, type SideType } from '../test/natlab/index.js'
import { type Outcome, PairingRig } from '../test/natlab/pairing-rig.js'
import { needLaboratory } from './laboratory.js'
import { median } from './median.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

/** Inviter's and accepter's side, and the loss on the way between them in percent. */
const PAIRS: readonly {
  readonly from: SideType
  readonly to: SideType
  readonly loss?: number
  readonly times?: number
}[] = [
  { from: 'port-restricted', to: 'port-restricted' },
  { from: 'full-cone', to: 'address-restricted' },
  { from: 'public', to: 'port-restricted' },
  { from: 'public', to: 'symmetric' },
  { from: 'symmetric', to: 'public' },
  { from: 'address-restricted', to: 'symmetric' },
  { from: 'symmetric', to: 'address-restricted' },
  { from: 'port-restricted', to: 'blacklisting' },
  { from: 'blacklisting', to: 'port-restricted' },
  { from: 'port-restricted', to: 'open-router' },
  { from: 'open-router', to: 'port-restricted' },
  { from: 'double', to: 'port-restricted' },
  { from: 'port-restricted', to: 'port-restricted', loss: 20, times: 50 },
]

const [count = '20', ...words] = process.argv.slice(2)
const times = Number(count)

/** What each part of a pairing took, in ms: the median of each. */
function parts(outcomes: readonly Outcome[]): string {
  const names = outcomes[0]?.parts.map(({ name }) => name) ?? []
  return names
    .map((name, index) => {
      const took = outcomes.map(({ parts }) => (parts[index]?.at ?? Number.NaN) - (parts[index - 1]?.at ?? 0))
      return `${name} ${Math.round(median(took))}`
    })
    .join(', ')
}

needLaboratory()

let failed = 0
for (const pair of PAIRS) {
  const name = `${pair.from} x ${pair.to}${pair.loss ? ` with ${pair.loss}% loss` : ''}`
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue
  const lab = await Lab.open()
  const rig = await PairingRig.open(lab, [ALICE, BOB])
  const options = { spared: [SERVER_PREFIX] }
  const from: Side = await lab.side('a', pair.from, options)
  const to: Side = await lab.side('b', pair.to, options)
  const accepter = await rig.accepter(to, BOB)
  if (pair.loss) await lab.loss(pair.loss)
  const outcomes: Outcome[] = []
  const wanted = pair.times === undefined ? times : Math.max(times, pair.times)
  for (let time = 0; time < wanted; time++) {
    const outcome = await rig.pair(from, ALICE, BOB, accepter)
    outcomes.push(outcome)
    if (!outcome.paired) {
      failed++
      process.stdout.write(`${name} failed:\n${outcome.story}\n`)
    }
  }
  const good = outcomes.filter(({ paired }) => paired)
  process.stdout.write(
    `${name}: ${good.length} of ${wanted}, median ${Math.round(median(good.map(({ both }) => both)))} ms, ` +
      `slowest ${Math.max(...good.map(({ both }) => both))} ms; ${parts(good)}\n`,
  )
  await rig.close()
  await lab.close()
}
process.exitCode = failed === 0 ? 0 : 1
