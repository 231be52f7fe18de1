/**
 * A stateful fuzzer over the frames of a tunnel: an authentic peer that does whatever the protocol lets it. No datagram may cost
 * more than 200 ordinary ones, and what goes out is at most three times what came in. Seeds are printed; the same seed is the
 * same session.
 *
 *     node dist/bench/fuzz-frames.js [datagrams=1000000] [first seed=1]
 */
import { ordinary } from '../test/support/tunnel-cost.js'
import { dear, echoes, fuzz } from '../test/support/tunnel-fuzz.js'

const [datagrams = '1000000', firstSeed = '1'] = process.argv.slice(2)
const A_SESSION = 500
const most = ordinary(50)
const began = performance.now()
let [count, seed, highest, faults, bytesIn, bytesOut] = [0, Number(firstSeed), 0, 0, 0, 0]
for (; count < Number(datagrams); seed++) {
  const session = fuzz(seed, A_SESSION)
  count += session.datagrams
  bytesIn += session.bytesIn
  bytesOut += session.bytesOut
  highest = Math.max(highest, session.bytesOut / session.bytesIn)
  for (const { index, ms } of dear(session, most)) {
    faults++
    console.log(
      `seed ${seed}: datagram ${index} costs ${ms.toFixed(2)} ms, where ${most.toFixed(2)} ms is most`,
    )
  }
  if (echoes(session)) {
    faults++
    console.log(`seed ${seed}: ${session.bytesOut} bytes for ${session.bytesIn}`)
  }
}
const seconds = ((performance.now() - began) / 1000).toFixed(0)
console.log(
  `${count} datagrams of ${seed - Number(firstSeed)} sessions (seeds ${firstSeed} to ${seed - 1}) in ${seconds} s`,
)
console.log(
  `200 ordinary datagrams: ${most.toFixed(2)} ms; dearer ones, and sessions that brought back too much: ${faults}`,
)
console.log(
  `bytes out for each byte in: ${(bytesOut / bytesIn).toFixed(3)}, at most ${highest.toFixed(3)} in a session`,
)
process.exitCode = faults > 0 ? 1 : 0
