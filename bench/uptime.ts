/**
 * How soon an idle accepter behind a NAT is invited successfully after its network, its address or its servers failed:
 * from the start of an inviter's process, as soon as it can work, until both commands run.
 *
 *     node dist/bench/uptime.js [times=3] [word…]
 *
 * runs only the upheavals whose name contains one of the words. Needs root and nftables.
 */
import { Lab } from '../test/natlab/index.js'
import { PairingRig } from '../test/natlab/pairing-rig.js'
import { UPHEAVALS } from '../test/natlab/upheavals.js'
import { needLaboratory } from './laboratory.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
/** The bound, in ms. */
const BOUND = 10_000

const [count = '3', ...words] = process.argv.slice(2)
needLaboratory()

const lab = await Lab.open()
const rig = await PairingRig.open(lab, [ALICE, BOB])
const inviting = await lab.side('a', 'port-restricted')
const accepting = await lab.side('b', 'port-restricted')
const accepter = await rig.accepter(accepting, BOB)
let late = 0
for (const { name, happen } of UPHEAVALS) {
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue
  const took: string[] = []
  for (let time = 0; time < Number(count); time++) {
    await happen({ lab, rig, accepting, accepter })
    const outcome = await rig.pair(inviting, ALICE, BOB, accepter)
    took.push(outcome.paired ? String(outcome.both) : 'failed')
    if (outcome.paired && outcome.both <= BOUND) continue
    late++
    process.stdout.write(`${name}:\n${outcome.story}\n`)
  }
  process.stdout.write(`${name}: ${took.join(', ')} ms\n`)
}
await rig.close()
await lab.close()
process.exitCode = late === 0 ? 0 : 1
