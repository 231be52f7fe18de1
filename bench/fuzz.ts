/**
 * Mutated inputs to the parsers of what anybody may send: the STUN codec, the sealing, the offer parser. Prints what
 * came of them and the slowest, and ends with 1 if one came to something else than a typed error, or took over 50 ms.
 *
 *     node dist/bench/fuzz.js [inputs=100000] [seed=1]
 */
import { fuzz, offerTarget, sealingTarget, stunTarget } from '../test/support/fuzzing.js'

/** What one input may take, in ms. */
const LIMIT = 50

const [count = '100000', seed = '1'] = process.argv.slice(2)
const sealing = await sealingTarget()
let bad = 0
try {
  for (const target of [stunTarget(), sealing.target, offerTarget()]) {
    const began = performance.now()
    const { counts, untyped, slowest } = await fuzz(target, Number(count), Number(seed))
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    const listed = [...counts].sort(([, a], [, b]) => b - a).map(([name, times]) => `${name} ${times}`)
    process.stdout.write(
      `${target.name}: ${count} inputs in ${seconds} s, slowest ${slowest.toFixed(1)} ms, ` +
        `${untyped.length} untyped errors; ${listed.join(', ')}\n`,
    )
    for (const { nth, input, error } of untyped.slice(0, 10))
      process.stdout.write(`  input ${nth}: ${error instanceof Error ? error.stack : error}\n  ${input}\n`)
    if (untyped.length > 0 || slowest > LIMIT) bad++
  }
} finally {
  await sealing.close()
}
process.exitCode = bad === 0 ? 0 : 1
