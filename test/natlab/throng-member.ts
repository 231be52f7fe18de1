/**
 * Many inviters in one process, for more of them at once than a machine can start processes: each has its own
 * identity, sessions and ports, and all share their place in the DHT. One that is told BUSY tries again after a while.
 *
 * Its argument is a `Task` in JSON. Prints a `Report` in JSON for each inviter, on a line.
 */
import { openRendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { asPlexusError } from '../../src/errors/index.js'
import { parseIdentity, Repository } from '../../src/identity/index.js'
import { silent, sleep } from '../../src/net/index.js'
import { invite } from '../../src/pairing/index.js'
import type { Report, Task } from './throng.js'

/** The pause before the next attempt, in ms: at random, so that those who were refused together do not return together. */
const SHORTEST_PAUSE = 300
const LONGEST_PAUSE = 2500
/** How often one tries. */
const MAX_ATTEMPTS = 12

const task = JSON.parse(process.argv[2] ?? '{}') as Task
const repository = await Repository.open(task.repository)
const rendezvous = await openRendezvous(['dht:'], {
  clock: systemClock,
  random: systemRandom,
  log: silent,
  stateDirectory: task.state,
  options: { 'dht-bootstrap': [task.bootstrap] },
})
const signal = new AbortController().signal
await rendezvous.ready?.({ signal })
await Promise.all(task.hosts.map(pair))
await rendezvous.close()

async function pair(name: string): Promise<void> {
  const host = await repository.host(parseIdentity(name))
  const refusals: string[] = []
  const started = systemClock.now()
  let paired = false
  while (!paired && refusals.length < MAX_ATTEMPTS) {
    try {
      const context = {
        clock: systemClock,
        random: systemRandom,
        log: silent,
        repository,
        host,
        app: task.app,
        rendezvous,
        stunServers: [task.stun],
        bind: {},
        hops: 7,
        timeout: 30_000,
      }
      const passage = await invite(context, parseIdentity(task.peer), { signal })
      await passage.port.close()
      paired = true
    } catch (thrown) {
      refusals.push(asPlexusError(thrown).code)
      const share = systemRandom(2).readUInt16BE() / 0x1_0000
      await sleep(systemClock, SHORTEST_PAUSE + share * (LONGEST_PAUSE - SHORTEST_PAUSE))
    }
  }
  const report: Report = { host: name, paired, refusals, ms: systemClock.now() - started }
  process.stdout.write(`${JSON.stringify(report)}\n`)
}
