import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runAccepter, runInviter } from '../../src/daemon/index.js'
import { finishRollover, parseIdentity, Repository, renewIdentity } from '../../src/identity/index.js'
import type { Clock, Logger } from '../../src/net/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import type { CarryEnd, Tunnel } from '../../src/wormhole/index.js'
import { MemoryLog } from '../support/log.js'
import { World } from '../support/world.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const alice = parseIdentity(ALICE)

const PROVEN = /info the peer has proven its identity again/

/** Has tunnels, and does nothing with them. */
class Holder {
  readonly log = new MemoryLog()
  readonly up: Promise<Tunnel>
  wanted = false
  ondemand = () => {}
  #came: (tunnel: Tunnel) => void = () => {}

  constructor() {
    this.up = new Promise((resolve) => {
      this.#came = resolve
    })
  }

  async carry(_peer: string, tunnel: Tunnel, _log: Logger): Promise<CarryEnd> {
    await tunnel.ready
    this.#came(tunnel)
    return await tunnel.over
  }
}

describe('a tunnel of the daemon', () => {
  const [here, there] = [new Holder(), new Holder()]
  const controller = new AbortController()
  let world: World
  let repository: Repository
  let running: Promise<unknown>
  let ahead = 0
  let looks = 0

  /** A clock that jumps; what is looked at every 2 s is looked at more often. */
  const clock: Clock = {
    now: () => systemClock.now() + ahead,
    date: () => systemClock.date() + ahead,
    timer: (ms, done) => systemClock.timer(ms === 2_000 ? 20 : ms, done),
  }

  before(async () => {
    world = await World.create([ALICE, BOB])
    repository = await Repository.open(world.repository)
    const settings = async (name: string, carrier: Holder) => ({
      context: await world.context(name, { clock, log: carrier.log }),
      command: undefined,
      carrier,
      environment: {},
      print: () => {},
    })
    const accepting = await settings(BOB, there)
    const { peerStamp } = accepting.context.repository
    accepting.context.repository.peerStamp = (...names) => {
      looks++
      return peerStamp.apply(accepting.context.repository, names)
    }
    const rest = { peers: undefined, onRepeat: 'replace', seenFile: join(world.directory, 'seen') } as const
    const { signal } = controller
    running = Promise.all([
      runAccepter({ ...accepting, ...rest }, { signal }),
      runInviter(await settings(ALICE, here), parseIdentity(BOB), { signal }),
    ])
    await Promise.all([here.up, there.up])
  })
  after(async () => {
    controller.abort()
    await running.catch(() => {})
    await world.close()
  })

  /** Twelve hours later, both sides have proven themselves once more. */
  async function halfDay(): Promise<void> {
    const counts = [here, there].map(({ log }) => log.count(PROVEN))
    ahead += 12 * 3_600_000 + 1_000
    // both find out at once, and not only with their next keep-alive
    for (const { up } of [here, there]) (await up).open(Buffer.from('x')).on('error', () => {})
    for (const [index, { log }] of [here, there].entries()) await log.until(PROVEN, (counts[index] ?? 0) + 1)
  }

  test('proves both identities every twelve hours', async () => {
    await halfDay()
    await halfDay()
    assert.equal(here.log.count(/warn/) + there.log.count(/warn/), 0)
  })

  test('goes on when a key was replaced meanwhile, and proven by the new one', async () => {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    await renewIdentity(repository, alice, options)
    await halfDay()
    await finishRollover(repository, alice)
    const before = looks
    const closed = () => there.log.count(/; closing its tunnel/)
    while (looks < before + 3 && closed() === 0) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(closed(), 0)
    await halfDay()
  })
})
