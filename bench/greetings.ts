/**
 * What greetings that were recorded of earlier tunnels under the same key do to a side that waits for its peer: of this
 * build, or of another one.
 *
 *     node dist/bench/greetings.js [checkout]
 *
 * `<checkout>` is a directory with another version, built. In virtual time; the cost is that of the processor.
 */
import { randomBytes } from 'node:crypto'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Connection } from '../src/wormhole/tunnel/connection.js'

const HERE = fileURLToPath(new URL('../..', import.meta.url))
const KEY = Buffer.alloc(32, 7)
const PEER = { address: '192.0.2.1', port: 1111 }
const OWN = { address: '192.0.2.2', port: 2222 }
const DATE = 1_800_000_000_000
/** One way, in ms. */
const DELAY = 20

const [checkout = HERE] = process.argv.slice(2)
const path = join(resolve(checkout), 'dist/src/wormhole/tunnel/connection.js')
const { Connection: Core } = (await import(path)) as { Connection: typeof Connection }

function side(initiator: boolean, date: number, now = 0): Connection {
  const remote = initiator ? OWN : PEER
  return new Core({ initiator, key: KEY, remote, random: randomBytes, date }, now)
}

function transmitted(core: Connection, now: number): Buffer[] {
  const out: Buffer[] = []
  core.tick(now)
  core.transmit(now, (data) => out.push(Buffer.from(data)))
  return out
}

/** The first HELLOs of so many earlier tunnels. */
const recorded = Array.from({ length: 64 }, (_, at) => transmitted(side(true, DATE + at), 0)[0] as Buffer)

/** How long until both sides are ready while so many recorded HELLOs a ms come from the peer's address, in ms. */
function pairing(perMs: number): number | undefined {
  const sides = [side(true, DATE + 1000), side(false, DATE + 1000)] as const
  const ready = new Set<Connection>()
  const flying: { at: number; to: number; data: Buffer }[] = []
  let next = 0
  for (let now = 0; now < 10_000; now++) {
    for (let count = 0; count < perMs; count++) {
      const data = Buffer.from(recorded[next++ % recorded.length] as Buffer)
      sides[1].receive(now, data, PEER)
    }
    while (flying.length > 0 && (flying[0] as { at: number }).at <= now) {
      const { to, data } = flying.shift() as { to: 0 | 1; data: Buffer }
      sides[to].receive(now, data, to === 0 ? OWN : PEER)
    }
    for (const [at, core] of sides.entries()) {
      for (const data of transmitted(core, now)) flying.push({ at: now + DELAY, to: 1 - at, data })
      if (core.events().some(({ name }) => name === 'ready')) ready.add(core)
    }
    if (ready.size === 2) return now
  }
  return undefined
}

for (const perMs of [0, 1, 10]) {
  const took = pairing(perMs)
  const result = took === undefined ? 'never ready' : `ready after ${took} ms`
  console.log(`${perMs * 1000} recorded HELLOs a second: ${result}, at ${DELAY} ms one way`)
}

const waiting = side(false, DATE + 1000)
const before = process.cpuUsage()
const COUNT = 50_000
for (let count = 0; count < COUNT; count++) {
  waiting.receive(count / 10, Buffer.from(recorded[count % recorded.length] as Buffer), PEER)
  if (count % 100 === 0) transmitted(waiting, count / 10)
}
const { user, system } = process.cpuUsage(before)
console.log(`each costs ${((user + system) / COUNT).toFixed(1)} µs, its answer with it`)
