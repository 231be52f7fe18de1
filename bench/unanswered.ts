/**
 * Packets to endpoints that have not answered: what an authentic but hostile peer has a third party sent, in virtual
 * time, by each way there is.
 *
 *     node dist/bench/unanswered.js
 */
import { ATTACKS } from '../test/support/reflection.js'

for (const [name, attack] of Object.entries(ATTACKS)) {
  const { packets, endpoints, peak, immediate } = attack()
  process.stdout.write(
    `${name}: ${packets} packets to ${endpoints} endpoints, at most ${peak} in a second, ${immediate} of them at once\n`,
  )
}
