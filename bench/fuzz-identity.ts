/**
 * 100,000 mutated names, certificates and handouts before the code that reads them: what was refused, what was thrown
 * that is no error of this program (nothing), and how slow the slowest was.
 *
 *     node dist/bench/fuzz-identity.js [inputs=100000] [seed=1]
 *
 * Exits with 1 if anything else was thrown, or an input took more than 50 ms.
 */
import { mutateIdentities } from '../test/support/identity-mutations.js'

/** The most that one input may take, in ms. */
const LIMIT = 50

const [inputs = '100000', seed = '1'] = process.argv.slice(2)
for (const [kind, { inputs: all, refused, slowest, wrong }] of await mutateIdentities(
  Number(inputs),
  Number(seed),
)) {
  process.stdout.write(`${kind}: ${all} inputs, ${refused} refused, slowest ${slowest.toFixed(1)} ms\n`)
  for (const line of wrong) process.stdout.write(`  ${line}\n`)
  if (wrong.length > 0 || slowest > LIMIT) process.exitCode = 1
}
