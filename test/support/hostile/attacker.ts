/**
 * A hostile peer in a process of its own: the bench's measurements are not to wait for it. Its arguments are a `Task` in
 * JSON, the directory where the sides meet, and the names of attacks; it goes on until it is ended.
 */
import { setMaxListeners } from 'node:events'
import { openRendezvous } from '../../../rendezvous/index.js'
import { silent } from '../../../src/net/index.js'
import { systemClock, systemRandom } from '../../../src/system/index.js'
import { ATTACKS, means, SCARCITY, type Task } from './attacks.js'

const [words = '{}', place = '', ...names] = process.argv.slice(2)
const task = JSON.parse(words) as Task
const over = new AbortController()
process.once('SIGTERM', () => over.abort())
const rendezvous = await openRendezvous([place], {
  clock: systemClock,
  random: systemRandom,
  log: silent,
  stateDirectory: task.elsewhere,
  options: {},
})
const chosen = [...ATTACKS, ...SCARCITY].filter(({ name }) => names.includes(name))
if (chosen.length < names.length) throw new Error(`no such attack: ${names.join(', ')}`)
// listeners are counted where they are to be told of a leak: here there are as many as the attacks want
setMaxListeners(0, over.signal)
const mine = await means(task, rendezvous, over.signal)
process.stdout.write('begun\n')
await Promise.all(chosen.map((attack) => attack.run(mine)))
await rendezvous.close()
process.exit(0)
