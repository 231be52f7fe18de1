/**
 * One accepter, many pairings in a row over the DHT, through two port-restricted NATs: what it holds before and after.
 *
 *     node dist/bench/soak.js [times=100]
 *
 * Prints open descriptors, UDP sockets, child processes and resident memory (kB). Needs root and nftables.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { Lab, SERVER_PREFIX } from '../test/natlab/index.js'
import { PairingRig, type Process } from '../test/natlab/pairing-rig.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
/** Pairings before the first look: what is loaded and cached once is no leak. */
const WARM_UP = 10

const times = Number(process.argv[2] ?? 100)

function held({ child }: Process) {
  const folder = `/proc/${child.pid}`
  const status = readFileSync(`${folder}/status`, 'utf8')
  return {
    descriptors: readdirSync(`${folder}/fd`).length,
    udp: readFileSync(`${folder}/net/udp`, 'utf8').trim().split('\n').length - 1,
    children: readFileSync(`${folder}/task/${child.pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
      .length,
    resident: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]),
  }
}

const lab = await Lab.open()
const rig = await PairingRig.open(lab, [ALICE, BOB])
const a = await lab.side('a', 'port-restricted', { spared: [SERVER_PREFIX] })
const b = await lab.side('b', 'port-restricted', { spared: [SERVER_PREFIX] })
const accepter = await rig.accepter(b, BOB)

async function paired(count: number): Promise<number> {
  let good = 0
  for (let time = 0; time < count; time++) {
    const outcome = await rig.pair(a, ALICE, BOB, accepter)
    if (outcome.paired) good++
    else process.stdout.write(`${outcome.story}\n`)
  }
  return good
}

await paired(WARM_UP)
const before = held(accepter)
const good = await paired(times)
const after = held(accepter)
process.stdout.write(
  `${good} of ${times}\nbefore ${JSON.stringify(before)}\nafter  ${JSON.stringify(after)}\n`,
)
await rig.close()
await lab.close()
process.exitCode = good === times ? 0 : 1
