/**
 * Sides that stand close to each other, and random symmetric NATs on both sides with a router that maps ports on one: so
 * many pairings each, and whether the nearest path is taken and the mapping gone afterwards.
 *
 *     node dist/bench/candidates.js [times=20] [word…]
 *
 * runs only those whose name contains one of the words. Needs root, nftables, and miniupnpd.
 */
import { until } from '../test/natlab/fixture.js'
import { Lab, labUnavailable, portMapperUnavailable, type Side } from '../test/natlab/index.js'
import { complaint, flagsOf, NEIGHBOURHOODS, pathOf } from '../test/natlab/neighbourhood.js'
import { type Outcome, PairingRig } from '../test/natlab/pairing-rig.js'
import { median } from './median.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

const [count = '20', ...words] = process.argv.slice(2)
const times = Number(count)

/** Something that is paired again and again. */
interface Case {
  readonly name: string
  readonly flags: (rig: PairingRig) => string[]
  readonly build: (lab: Lab) => Promise<{ from: Side; to: Side }>
  /** What is wrong with an outcome; undefined if nothing is. */
  readonly judge: (lab: Lab, sides: { from: Side; to: Side }, outcome: Outcome) => Promise<string | undefined>
}

const near = NEIGHBOURHOODS.map(
  (neighbourhood): Case => ({
    name: neighbourhood.name,
    flags: (rig) => flagsOf(neighbourhood, rig),
    build: (lab) => neighbourhood.build(lab, 'n'),
    judge: async (_lab, { to }, outcome) => complaint(neighbourhood, to, outcome),
  }),
)

const mapped = (['upnp', 'nat-pmp'] as const).flatMap((portMapper) =>
  (['inviter', 'accepter'] as const).map((where): Case => {
    const side = (lab: Lab, role: typeof where) =>
      lab.side(role === 'inviter' ? 'a' : 'b', 'symmetric', role === where ? { portMapper } : {})
    return {
      name: `symmetric × symmetric, ${portMapper} at the ${where}`,
      flags: () => [],
      build: async (lab) => ({ from: await side(lab, 'inviter'), to: await side(lab, 'accepter') }),
      judge: async (lab, { from, to }, outcome) => {
        if (!outcome.paired) return outcome.story
        const router = lab.portMapper(where === 'inviter' ? from : to)
        await until(async () => (await router.mappings()).length === 0)
        return undefined
      },
    }
  }),
)

const reason = labUnavailable() ?? portMapperUnavailable()
if (reason !== undefined) {
  process.stderr.write(`no laboratory: ${reason}\n`)
  process.exit(1)
}

let failed = 0
process.stdout.write('| sides | as it should be | path | median, ms | slowest, ms |\n| - | - | - | - | - |\n')
for (const { name, flags, build, judge } of [...near, ...mapped]) {
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue
  const lab = await Lab.open()
  const rig = await PairingRig.open(lab, [ALICE, BOB])
  const sides = await build(lab)
  const more = flags(rig)
  const accepter = await rig.accepter(sides.to, BOB, more)
  const outcomes: Outcome[] = []
  let good = 0
  for (let time = 0; time < times; time++) {
    const outcome = await rig.pair(sides.from, ALICE, BOB, accepter, more)
    outcomes.push(outcome)
    const wrong = await judge(lab, sides, outcome).catch((thrown: unknown) => String(thrown))
    if (wrong === undefined) good++
    else process.stderr.write(`${name}: ${wrong}\n`)
  }
  if (good < times) failed++
  const took = outcomes.map(({ both }) => both)
  const kinds = [...new Set(outcomes.map((outcome) => pathOf(outcome)?.kind ?? 'none'))].join(', ')
  process.stdout.write(
    `| ${name} | ${good} of ${times} | ${kinds} | ${Math.round(median(took))} | ${Math.max(...took)} |\n`,
  )
  await rig.close()
  await lab.close()
}
process.exitCode = failed === 0 ? 0 : 1
