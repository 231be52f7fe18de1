/**
 *
 *     node dist/bench/kill.js [times=100]
 *
 * Both sides behind port-restricted NATs, over a DHT of three nodes. Needs root and nftables.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Lab } from '../test/natlab/index.js'
import { commandsLeft, filesBelow, Killing, type Slaughter } from '../test/natlab/killing.js'
import { PairingRig } from '../test/natlab/pairing-rig.js'
import { needLaboratory } from './laboratory.js'
import { median } from './median.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

const times = Number(process.argv[2] ?? '100')
needLaboratory()

const lab = await Lab.open()
const rig = await PairingRig.open(lab, [ALICE, BOB])
const temporary = join(rig.directory, 'tmp')
await mkdir(temporary)
process.env.TMPDIR = temporary
delete process.env.XDG_RUNTIME_DIR
const inviting = await lab.side('a', 'port-restricted')
const accepting = await lab.side('b', 'port-restricted')
const killing = new Killing(rig, [inviting, ALICE], [accepting, BOB])
const done: Slaughter[] = []
for (let time = 0; time < times; time++) {
  const one = await killing.once(time % 2 === 0 ? 'inviter' : 'accepter')
  done.push(one)
  if (one.next.paired) continue
  process.stdout.write(`after the ${one.victim} was killed at '${one.during}':\n${one.next.story}\n`)
}
await killing.close()
const running = await commandsLeft(rig)
const files = [...filesBelow(join(rig.directory, 'state')), ...filesBelow(temporary)]
const paired = done.filter(({ next }) => next.paired)
process.stdout.write(
  `${paired.length} of ${done.length} next pairings worked, median ${Math.round(median(paired.map(({ next }) => next.both)))} ms, ` +
    `slowest ${Math.max(...paired.map(({ next }) => next.both))} ms\n`,
)
for (const victim of ['inviter', 'accepter'] as const) {
  const counts = new Map<string, number>()
  for (const { during } of done.filter((one) => one.victim === victim)) {
    const kind = during.replace(/\d[\d.:]*/g, '…')
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  const told = [...counts].sort((a, b) => b[1] - a[1]).map(([kind, count]) => `${count} × ${kind}`)
  process.stdout.write(`the ${victim} was killed after: ${told.join('; ')}\n`)
}
process.stdout.write(
  `commands still running: ${running.length}\n${running.map((line) => `  ${line}\n`).join('')}`,
)
process.stdout.write(`files:\n${files.map((file) => `  ${file}\n`).join('')}`)
await rig.close()
await lab.close()
process.exitCode = paired.length === done.length && running.length === 0 ? 0 : 1
