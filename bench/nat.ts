/**
 * Whether `plexus nat` names every NAT of the laboratory, so many times each, and how long it takes.
 *
 *     node dist/bench/nat.js [times=10] [word…]
 *
 * Needs root. With words only the places whose names contain one of them.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Lab, labUnavailable, portMapperUnavailable } from '../test/natlab/index.js'
import { differences, NAT_PLACES, NatServers, reportOf } from '../test/natlab/nat-places.js'
import { median } from './median.js'

const reason = labUnavailable()
if (reason !== undefined) {
  console.error(reason)
  process.exit(2)
}
const [timesText = '10', ...words] = process.argv.slice(2)
const times = Number(timesText)
const places = NAT_PLACES.filter(
  ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
)
const state = await mkdtemp(join(tmpdir(), 'plexus-nat-'))
let wrong = 0
try {
  for (const { name, type, options, mapper, expected } of places) {
    if (mapper && portMapperUnavailable() !== undefined) {
      console.log(`${name.padEnd(44)} left out: ${portMapperUnavailable()}`)
      continue
    }
    // a laboratory has room for a certain number of sides, and each time shall be the first
    await using lab = await Lab.open()
    const servers = await NatServers.start(lab)
    const side = await lab.side('side', type, options)
    const took: number[] = []
    const measured: number[] = []
    const failures: string[] = []
    let right = 0
    for (let time = 0; time < times; time++) {
      await lab.flush()
      const started = performance.now()
      const { report, code } = await reportOf(side, servers.full, state)
      took.push(performance.now() - started)
      measured.push(report.took)
      const found = differences(report, expected)
      if (code !== (report.udp === 'open' ? 0 : 1)) found.push(`exit code ${code}`)
      if (found.length === 0) right++
      else failures.push(found.join('; '))
    }
    wrong += times - right
    const ms = (value: number) => `${Math.round(value)} ms`
    console.log(
      `${name.padEnd(44)} ${right} of ${times}, measured in ${ms(median(measured))} (at most ${ms(Math.max(...measured))}), the whole command ${ms(median(took))} (at most ${ms(Math.max(...took))})`,
    )
    for (const failure of failures) console.log(`  ${failure}`)
    await servers.stop()
  }
} finally {
  await rm(state, { recursive: true, force: true })
}
process.exitCode = wrong === 0 ? 0 : 1
