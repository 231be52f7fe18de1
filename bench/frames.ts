/**
 * What single datagrams of an authentic peer cost the other side: time of its thread, and bytes that it sends for them.
 * Each of `test/support/tunnel-corpus` several times on fresh state; the least counts.
 *
 *     node dist/bench/frames.js [repetitions=20]
 */
import { CORPUS } from '../test/support/tunnel-corpus.js'
import { cheapest, ordinary } from '../test/support/tunnel-cost.js'

const [repetitions = '20'] = process.argv.slice(2)
console.log(`200 ordinary datagrams: ${ordinary().toFixed(2)} ms`)
for (const costly of CORPUS) {
  const { ms, out, bytes } = cheapest(costly, Number(repetitions))
  const times = (out / bytes).toFixed(1)
  console.log(`| ${costly.name} | ${bytes} | ${ms.toFixed(2)} ms | ${out} | ${times} |`)
}
