/**
 * Pairs with an accepter so many times in a row, with each of its identities in turn. Its argument is a `Soaking` in JSON.
 * Prints how many came to a passage.
 */
import { openRendezvous } from '../../rendezvous/index.js'
import { asPlexusError } from '../../src/errors/index.js'
import { parseIdentity, Repository } from '../../src/identity/index.js'
import { silent } from '../../src/net/index.js'
import { invite } from '../../src/pairing/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'

export interface Soaking {
  readonly repository: string
  readonly hosts: readonly string[]
  readonly peer: string
  readonly bootstrap: string
  readonly stun: string
  readonly state: string
  readonly times: number
}

const task = JSON.parse(process.argv[2] ?? '{}') as Soaking
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
let good = 0
for (let time = 0; time < task.times; time++) {
  const name = task.hosts[time % task.hosts.length] as string
  const context = {
    clock: systemClock,
    random: systemRandom,
    log: silent,
    repository,
    host: await repository.host(parseIdentity(name)),
    app: 'lab',
    rendezvous,
    stunServers: [task.stun],
    bind: {},
    hops: 7,
    timeout: 30_000,
  }
  try {
    const { port } = await invite(context, parseIdentity(task.peer), { signal })
    await port.close()
    good++
  } catch (thrown) {
    process.stderr.write(`${asPlexusError(thrown).message}\n`)
  }
}
await rendezvous.close()
process.stdout.write(`${good}\n`)
