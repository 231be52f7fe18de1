/**
 * Many inviters at once against one accepter: all pair, those beyond its limit after they were told BUSY.
 *
 *     node dist/bench/load.js [inviters=100]
 *
 * First 16 processes, four behind each of four NATs; then many more identities in five processes, as a small machine
 * cannot start a hundred at once. Needs root and nftables.
 */
import { systemClock } from '../src/cli/clock.js'
import { Lab, type Side } from '../test/natlab/index.js'
import { PairingRig } from '../test/natlab/pairing-rig.js'
import { throng, throngNames } from '../test/natlab/throng.js'
import { needLaboratory } from './laboratory.js'
import { median } from './median.js'

const BOB = 'bob@px.test/server'
const SIDES = 5
/** How many an accepter pairs with at a time. */
const LIMIT = 16

const count = Number(process.argv[2] ?? '100')
needLaboratory()

const lab = await Lab.open()
const names = throngNames(Math.max(count, LIMIT))
const rig = await PairingRig.open(lab, [BOB, ...names])
const sides: Side[] = []
for (let index = 0; index < SIDES; index++) sides.push(await lab.side(`s${index}`, 'port-restricted'))
const own = await lab.side('b', 'port-restricted')
const accepter = await rig.accepter(own, BOB, ['--exec-command=/bin/true', '--exec-args=x'])

const few = names.slice(0, LIMIT)
const inviters = few.map((name, index) => {
  const side = sides[index % (SIDES - 1)] as Side
  return rig.inviter(side, name, BOB, ['--exec-command=/bin/true', '--exec-args=x'])
})
const codes = await Promise.all(inviters.map((inviter) => inviter.ended))
const took = inviters.map(({ events, started }) => {
  const ran = events.find(({ msg }) => /^the command runs/.test(msg))
  return ran ? ran.time - started : Number.NaN
})
process.stdout.write(
  `${codes.filter((code) => code === 0).length} of ${LIMIT} processes at once paired, median ${Math.round(median(took))} ms, slowest ${Math.max(...took)} ms\n`,
)
for (const inviter of inviters) if (inviter.child.exitCode !== 0) process.stdout.write(`${inviter.story()}\n`)

const started = systemClock.now()
const reports = await throng(rig, sides, names.slice(0, count), BOB)
const all = systemClock.now() - started
const paired = reports.filter((report) => report.paired)
const codesMet = new Map<string, number>()
for (const code of reports.flatMap(({ refusals }) => refusals))
  codesMet.set(code, (codesMet.get(code) ?? 0) + 1)
const direct = paired.filter(({ refusals }) => refusals.length === 0).length
process.stdout.write(
  `${paired.length} of ${count} inviters at once paired in ${Math.round(all)} ms in all, ${direct} of them at the first attempt; ` +
    `attempts that failed: ${[...codesMet].map(([code, times]) => `${times} ${code}`).join(', ') || 'none'}; ` +
    `the most for one: ${Math.max(...reports.map(({ refusals }) => refusals.length))}\n`,
)
const busy = accepter.events.filter(({ msg }) => /were? refused|was refused/.test(msg)).length
process.stdout.write(`the accepter refused ${busy} times\n`)
await rig.close()
await lab.close()
process.exitCode = paired.length === count && codes.every((code) => code === 0) ? 0 : 1
