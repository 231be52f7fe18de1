/**
 * One accepter, many pairings in a row over the DHT, through two port-restricted NATs: what it holds after each hundred.
 *
 *     node dist/bench/soak.js [hundreds=10] [folder for heap snapshots]
 *
 * Prints open descriptors, UDP sockets, child processes and memory in MB: resident as it is, and resident, on the heap and
 * in buffers after the garbage was collected. With a folder it leaves heap snapshots there, and names what there is more
 * of after the last hundred than after the second. Needs root and nftables.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { sleep } from '../src/net/index.js'
import { systemClock } from '../src/system/index.js'
import { Lab, SERVER_PREFIX } from '../test/natlab/index.js'
import { PairingRig, type Process } from '../test/natlab/pairing-rig.js'
import { needLaboratory } from './laboratory.js'
import type { Soaking } from './soak/member.js'
import { growth } from './soak/snapshot.js'

const MEMBER = fileURLToPath(new URL('./soak/member.js', import.meta.url))
const PROBE = fileURLToPath(new URL('./soak/probe.js', import.meta.url))
const BOB = 'bob@px.test/server'
/** One identity alone may say no more than so much in a minute. */
const GUESTS = Array.from({ length: 5 }, (_, index) => `guest${index}@px.test/laptop`)
const HUNDRED = 100
/** How long the accepter is left alone before it is looked at, in ms: what a pairing leaves behind ends by itself in that time. */
const SETTLING = 3000

const hundreds = Number(process.argv[2] ?? 10)
const snapshots = process.argv[3] ?? ''
needLaboratory()

interface Memory {
  readonly before: number
  readonly rss: number
  readonly heapUsed: number
  readonly external: number
  readonly arrayBuffers: number
  readonly native: number
  readonly spaces: string
}

const mb = (bytes: number) => (bytes / 1_048_576).toFixed(1)

async function look({ child }: Process, file: string, count: number): Promise<Memory> {
  await sleep(systemClock, SETTLING)
  child.kill('SIGUSR2')
  for (;;) {
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
    if (lines.length > count) return JSON.parse(lines[count] ?? '{}') as Memory
    await sleep(systemClock, 100)
  }
}

function held({ child }: Process) {
  const folder = `/proc/${child.pid}`
  const children = readFileSync(`${folder}/task/${child.pid}/children`, 'utf8').trim()
  return {
    descriptors: readdirSync(`${folder}/fd`).length,
    udp: readFileSync(`${folder}/net/udp`, 'utf8').trim().split('\n').length - 1,
    children: children === '' ? 0 : children.split(' ').length,
  }
}

const lab = await Lab.open()
const rig = await PairingRig.open(lab, [BOB, ...GUESTS])
const a = await lab.side('a', 'port-restricted', { spared: [SERVER_PREFIX] })
const b = await lab.side('b', 'port-restricted', { spared: [SERVER_PREFIX] })
const file = join(rig.directory, 'probe')
const probed = {
  NODE_OPTIONS: `--import=${pathToFileURL(PROBE)}`,
  SOAK_PROBE: file,
  SOAK_SNAPSHOTS: snapshots,
}
Object.assign(process.env, probed)
const accepter = await rig.accepter(b, BOB, ['--exec-command=/bin/true', '--exec-args=x'])
for (const name of Object.keys(probed)) delete process.env[name]

const task: Soaking = {
  repository: rig.repository,
  hosts: GUESTS,
  peer: BOB,
  bootstrap: rig.bootstrap,
  stun: rig.stunServer,
  state: rig.directory,
  times: HUNDRED,
}
let good = 0
for (let hundred = 0; hundred <= hundreds; hundred++) {
  if (hundred > 0) {
    const { stdout, stderr } = await a.exec(process.execPath, [MEMBER, JSON.stringify(task)])
    good += Number(stdout)
    if (stderr !== '') process.stdout.write(stderr)
  }
  const { before, rss, heapUsed, external, native, spaces } = await look(accepter, file, hundred)
  process.stdout.write(
    `${hundred * HUNDRED}: resident ${mb(before)}, collected ${mb(rss)}, heap ${mb(heapUsed)}, external ${mb(external)}, malloc ${mb(native)}, ${spaces} ${JSON.stringify(held(accepter))}\n`,
  )
}
process.stdout.write(`${good} of ${hundreds * HUNDRED} paired\n`)
if (snapshots !== '' && hundreds > 2) {
  const [second, last] = [3, hundreds + 1].map((look) => join(snapshots, `${look}.heapsnapshot`))
  for (const { kind, count, bytes } of growth(second ?? '', last ?? '').slice(0, 30)) {
    process.stdout.write(`  ${count} more ${kind}, ${bytes} bytes\n`)
  }
}
await rig.close()
await lab.close()
process.exitCode = good === hundreds * HUNDRED ? 0 : 1
