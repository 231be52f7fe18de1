/**
 * What an accepter costs that nobody invites: memory, processor, packets, and how long it takes to start, by the
 * number of peers in its repository.
 *
 *     node dist/bench/idle.js [seconds=60]
 *
 * Behind a port-restricted NAT, over a DHT of three nodes. Needs root, nftables and tcpdump.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../src/cli/clock.js'
import { sleep } from '../src/net/index.js'
import { Lab } from '../test/natlab/index.js'
import { PairingRig, type Process } from '../test/natlab/pairing-rig.js'
import { crowd } from './crowd.js'
import { needLaboratory } from './laboratory.js'

const BOB = 'bob@px.test/server'
const ALICE = 'alice@px.test/laptop'
/** Clock ticks a second in /proc (USER_HZ, the same on every Linux that Node runs on). */
const TICKS = 100
/** What may be reached: resident MB, packets a minute, ms until it is ready. */
const BOUND = { memory: 90, packets: 200, ready: 2000 } as const
/** How long it settles before it counts as idle, in ms. */
const SETTLING = 10_000

interface Row {
  readonly peers: number
  readonly ready: number
  readonly memory: number
  readonly cpu: number
  readonly packets: number
}

/** Processor time used so far by the process and its threads, in s. */
async function cpuTime({ child }: Process): Promise<number> {
  const stat = await readFile(`/proc/${child.pid}/stat`, 'latin1')
  // after the name, which may hold anything, come state, …; utime and stime are fields 14 and 15
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** Resident memory, in MB. */
async function resident({ child }: Process): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'latin1')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024
}

const seconds = Number(process.argv[2] ?? '60')
needLaboratory()

const lab = await Lab.open()
const rig = await PairingRig.open(lab, [ALICE, BOB])
const side = await lab.side('b', 'port-restricted')
const rows: Row[] = []
for (const peers of [1, 10_000]) {
  await crowd(rig.repository, join(rig.repository, ALICE, 'cert.crt'), peers)
  const accepter = await rig.accepter(side, BOB, ['--log-level=info'])
  const { time } = await accepter.said(/^ready/)
  await sleep(systemClock, SETTLING)
  const capture = await lab.capture(side.border, 'udp')
  const [began, used] = [systemClock.now(), await cpuTime(accepter)]
  await sleep(systemClock, seconds * 1000)
  const minutes = (systemClock.now() - began) / 60_000
  await capture.stop()
  rows.push({
    peers,
    ready: time - accepter.started,
    memory: await resident(accepter),
    cpu: ((await cpuTime(accepter)) - used) / minutes / 60,
    packets: capture.packets.length / minutes,
  })
  await accepter.stop()
}
await rig.close()
await lab.close()

process.stdout.write('peers  ready ms  resident MB  processor %  packets a minute\n')
for (const { peers, ready, memory, cpu, packets } of rows) {
  const cells = [
    String(peers).padStart(5),
    String(ready).padStart(8),
    memory.toFixed(1).padStart(11),
    (cpu * 100).toFixed(2).padStart(11),
    packets.toFixed(0).padStart(16),
  ]
  process.stdout.write(`${cells.join('  ')}\n`)
}
const kept = rows.every(
  ({ ready, memory, packets }) => ready <= BOUND.ready && memory <= BOUND.memory && packets <= BOUND.packets,
)
process.exitCode = kept ? 0 : 1
