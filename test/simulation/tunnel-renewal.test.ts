import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TokenBucket } from '../../src/net/index.js'
import type { ConnectionOptions } from '../../src/wormhole/tunnel/connection-state.js'
import { UPKEEP_LIMIT } from '../../src/wormhole/tunnel/upkeep-budget.js'
import { Prng } from './prng.js'
import {
  type Passing,
  sinks,
  type TunnelSide,
  type TunnelWeather,
  TunnelWorld,
  type TunnelWorldOptions,
} from './tunnel.js'

const HEADER = Buffer.from('a service')
const HOUR = 3_600_000
const MIB = 2 ** 20

/** A peer that knows nothing of renewals. */
const OLDER = { revision: 1 } as const

/** Renewals so often, in ms, with as many tokens as they take. */
function often(every: number, more: Partial<ConnectionOptions> = {}): Partial<ConnectionOptions> {
  const upkeepBudget = new TokenBucket({ burst: 1e6, rate: 1e6 }, 0)
  return { renewalTimes: { every, datagrams: 2 ** 32, grace: 20_000 }, upkeepBudget, ...more }
}

/** The epochs in the first bytes of what a side sends, in the order in which they came up. */
function epochsOf(world: TunnelWorld): Record<'a' | 'b', number[]> {
  const epochs: Record<'a' | 'b', number[]> = { a: [], b: [] }
  world.onpassing = ({ from, data }) => {
    if ((data[0] as number) >> 6 !== 2) return true
    const epoch = (data[0] as number) & 0x3f
    if (!epochs[from.name].includes(epoch)) epochs[from.name].push(epoch)
    return true
  }
  return epochs
}

/** Bytes of one side to the other, a stream of so many. */
function send(world: TunnelWorld, from: TunnelSide, prng: Prng, bytes: number) {
  const to = from === world.a ? world.b : world.a
  const read = sinks(world, to)
  const data = prng.bytes(bytes)
  const stream = from.core.streams.open(HEADER)
  stream.write(data)
  stream.end()
  world.pump(from)
  return {
    complete: () => read.get(stream.id)?.ended === true,
    right: () => read.get(stream.id)?.bytes.equals(data) === true,
  }
}

/** What is written at either side still comes out at the other one. */
function works(world: TunnelWorld, ms = 5_000): boolean {
  return [world.a, world.b].every((side) => {
    const { complete } = send(world, side, new Prng(7), 10_000)
    return world.run(ms, complete)
  })
}

function alive(world: TunnelWorld): boolean {
  return !world.a.has('over') && !world.b.has('over')
}

const renewals = (world: TunnelWorld) => [world.a.core.figures.epoch, world.b.core.figures.epoch]

describe('the keys of an open tunnel', () => {
  test('are renewed every hour, on an idle one too, without a jump in the packet numbers', () => {
    const world = new TunnelWorld(new Prng(1), { delay: 30 })
    const epochs = epochsOf(world)
    assert.ok(world.ready())
    world.run(10 * HOUR + 60_000)
    assert.deepEqual(renewals(world), [10, 10])
    assert.deepEqual(epochs, { a: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], b: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] })
    assert.ok(world.a.core.figures.packetsOut < 2 ** 24)
    assert.ok(works(world))
  })

  test('are renewed after 2^32 datagrams, of both sides together', () => {
    const times = { every: HOUR, datagrams: 2_000, grace: 20_000 }
    for (const side of ['a', 'b'] as const) {
      const world = new TunnelWorld(new Prng(2), { delay: 5 }, 0, { [side]: { renewalTimes: times } })
      assert.ok(world.ready())
      const { complete, right } = send(world, world.b, new Prng(3), 5 * MIB)
      assert.ok(world.run(60_000, complete))
      assert.ok(right())
      world.run(500)
      const [epoch = 0] = renewals(world)
      // acknowledgements come to the few thousand datagrams of the data
      assert.ok(epoch >= 1 && epoch <= 4, `${epoch} renewals`)
    }
  })

  test('go round the six bits of the epoch', () => {
    const world = new TunnelWorld(new Prng(4), { delay: 5 }, 0, { a: often(2_000), b: often(2_000) })
    assert.ok(world.ready())
    world.run(150 * 2_000)
    assert.ok((renewals(world)[0] ?? 0) > 130, `${renewals(world)}`)
    assert.ok(works(world) && alive(world))
  })

  for (const [name, weather] of [
    ['loss', { delay: 20, loss: 0.05, rate: 1_000 }],
    ['reordering', { delay: 20, jitter: 40, rate: 1_000 }],
    ['copies', { delay: 20, duplication: 0.3, jitter: 5, rate: 1_000 }],
    ['a short queue', { delay: 20, rate: 1_000, queue: 20_000 }],
    ['all of it', { delay: 20, loss: 0.03, jitter: 30, duplication: 0.1, rate: 1_000 }],
  ] as [string, TunnelWeather][]) {
    test(`renewed ten times a second under ${name}, both ways at once: no byte is lost`, () => {
      const world = new TunnelWorld(new Prng(5), weather, 0, { a: often(100), b: often(100) })
      assert.ok(world.ready(20_000))
      const [up, down] = [
        send(world, world.a, new Prng(6), 2 * MIB),
        send(world, world.b, new Prng(7), 2 * MIB),
      ]
      assert.ok(world.run(120_000, () => up.complete() && down.complete()))
      assert.ok(up.right() && down.right())
      assert.ok((renewals(world)[0] ?? 0) > 5, `${renewals(world)}`)
      assert.ok(alive(world))
    })
  }

  test('are renewed under full load without a pause: as fast as if they were not', () => {
    const took = (options: TunnelWorldOptions) => {
      const world = new TunnelWorld(new Prng(8), { delay: 10, rate: 12_500, queue: 125_000 }, 0, options)
      assert.ok(world.ready())
      const began = world.now
      const { complete, right } = send(world, world.a, new Prng(9), 16 * MIB)
      const reads: number[] = []
      const { onevent } = world.b
      world.b.onevent = (event) => {
        if (event.name === 'readable') reads.push(world.now)
        onevent?.(event)
      }
      assert.ok(world.run(60_000, complete))
      assert.ok(right())
      const pauses = reads.slice(1).map((at, index) => at - (reads[index] ?? at))
      return { ms: world.now - began, pause: Math.max(...pauses), renewals: renewals(world)[0] ?? 0 }
    }
    const plain = took({})
    const renewed = took({ a: often(100), b: often(100) })
    assert.ok(renewed.renewals > 8, `${renewed.renewals}`)
    assert.ok(renewed.ms < plain.ms * 1.03, `${renewed.ms} against ${plain.ms} ms`)
    assert.ok(renewed.pause < plain.pause + 5, `${renewed.pause} against ${plain.pause} ms`)
  })

  test('datagrams of flows that are overtaken by a renewal still arrive', () => {
    const arrived = (options: TunnelWorldOptions) => {
      const world = new TunnelWorld(new Prng(10), { delay: 20, jitter: 60 }, 0, options)
      assert.ok(world.ready())
      let came = 0
      world.b.onevent = (event) => {
        if (event.name === 'flow-data') came++
      }
      const flow = world.a.core.flows.open(HEADER)
      world.pump(world.a)
      // what overtakes the opening of its flow is nobody's
      world.run(200)
      for (let at = 0; at < 2_000; at++) {
        world.at(world.now + at, () => {
          world.a.core.flows.send(flow, Buffer.alloc(100, at))
          world.pump(world.a)
        })
      }
      world.run(10_000)
      return { came, renewals: renewals(world)[0] ?? 0 }
    }
    assert.equal(arrived({}).came, 2_000)
    const renewed = arrived({ a: often(200), b: often(200) })
    assert.ok(renewed.renewals > 8, `${renewed.renewals}`)
    assert.equal(renewed.came, 2_000)
  })

  test('whichever of a renewal’s datagrams is lost, it comes about', () => {
    for (let lost = 0; lost < 40; lost++) {
      const world = new TunnelWorld(new Prng(11), { delay: 20 })
      assert.ok(world.ready())
      world.run(HOUR - 1_000)
      let count = 0
      world.onpassing = () => count++ !== lost
      world.run(90_000)
      assert.deepEqual(renewals(world), [1, 1], `without datagram ${lost}`)
    }
  })

  test('both sides that want it at once come to one renewal; either alone can bring it about', () => {
    const never = { every: Number.POSITIVE_INFINITY, datagrams: Number.POSITIVE_INFINITY, grace: 20_000 }
    const soon = { every: 60_000, datagrams: 2 ** 32, grace: 20_000 }
    // the responder waits a sixtieth longer: as long as this
    const first = { ...soon, every: 61_000 }
    for (const [a, b] of [
      [soon, never],
      [never, soon],
      [first, soon],
    ] as const) {
      const world = new TunnelWorld(new Prng(12), { delay: 50 }, 0, {
        a: { renewalTimes: a },
        b: { renewalTimes: b },
      })
      assert.ok(world.ready())
      world.run(65_000)
      assert.deepEqual(renewals(world), [1, 1])
      assert.ok(works(world))
    }
  })
})

describe('renewals and a peer', () => {
  test('of before: it is met as before, whichever side it is', () => {
    for (const older of ['a', 'b'] as const) {
      const world = new TunnelWorld(new Prng(20), { delay: 20 }, 0, { [older]: OLDER })
      const epochs = epochsOf(world)
      assert.ok(world.ready())
      world.run(3 * HOUR)
      assert.deepEqual(epochs, { a: [0], b: [0] })
      assert.ok(works(world) && alive(world))
    }
  })

  test('that has said it renews, and does not, is ended with a sentence after five minutes', () => {
    // it has no token for it, ever
    const idle = { upkeepBudget: new TokenBucket({ burst: 0, rate: 0 }, 0) }
    for (const side of ['a', 'b'] as const) {
      const world = new TunnelWorld(new Prng(21), { delay: 20 }, 0, { [side]: idle })
      const other = world[side === 'a' ? 'b' : 'a']
      assert.ok(world.ready())
      world.run(HOUR + 290_000)
      assert.ok(alive(world), 'the grace is not over')
      world.run(120_000)
      const sentence = 'The peer did not renew the keys of the tunnel in time.'
      assert.deepEqual(other.events.at(-1), { name: 'over', ending: { name: 'failed', sentence } })
      assert.deepEqual(world[side].events.at(-1), { name: 'over', ending: { name: 'peer-closed', sentence } })
    }
  })

  test('whose machine slept: it renews when it is awake again', () => {
    for (const ms of [2 * HOUR, 13 * HOUR]) {
      const world = new TunnelWorld(new Prng(22), { delay: 20 })
      assert.ok(world.ready())
      world.run(10_000)
      world.sleep(ms)
      world.run(60_000)
      assert.deepEqual(renewals(world), [1, 1])
      assert.ok(works(world) && alive(world))
    }
  })

  test('that asks for one after the other gets as many agreements as one identity may have, over all of its tunnels', () => {
    for (const attacker of ['a', 'b'] as const) {
      const victim = attacker === 'a' ? 'b' : 'a'
      const upkeepBudget = new TokenBucket(UPKEEP_LIMIT, 0)
      const worlds = [30, 31, 32].map((seed) => {
        const greedy = often(1, { renewalTimes: { every: 1, datagrams: 2 ** 32, grace: HOUR } })
        return new TunnelWorld(new Prng(seed), { delay: 5 }, 0, {
          [attacker]: greedy,
          [victim]: { upkeepBudget },
        })
      })
      for (const world of worlds) assert.ok(world.ready())
      // side by side, as they share what time there is
      for (let at = 0; at < 60_000; at += 100) for (const world of worlds) world.run(100)
      const all = worlds.reduce((sum, world) => sum + (renewals(world)[0] ?? 0), 0)
      assert.ok(all >= UPKEEP_LIMIT.burst, `${all}`)
      assert.ok(all <= UPKEEP_LIMIT.burst + UPKEEP_LIMIT.rate * 60 + 1, `${all} agreements`)
      assert.ok(
        worlds.every((world) => works(world)),
        'and what else is said goes through',
      )
    }
  })
})

describe('who sees the path', () => {
  test('and sends again what was said at a renewal, or alters the epoch, changes nothing', () => {
    const world = new TunnelWorld(new Prng(40), { delay: 20 }, 0, { a: often(5_000), b: often(5_000) })
    assert.ok(world.ready())
    const seen: Passing[] = []
    world.onpassing = (passing) => {
      // what tries a larger size than the path takes never arrived
      if (passing.data.length <= 1_472) seen.push(passing)
      return true
    }
    world.run(11_000)
    world.onpassing = undefined
    world.run(900)
    const before = renewals(world)
    assert.deepEqual(before, [2, 2])
    const counted = () => [world.a.core.figures.packetsIn, world.b.core.figures.packetsIn]
    const heard = counted()
    for (const { from, data } of seen) {
      const target = from === world.a ? world.b : world.a
      for (let epoch = 0; epoch < 64; epoch++) {
        const forged = Buffer.from(data)
        if ((forged[0] as number) >> 6 === 2) forged[0] = 0x80 | epoch
        target.core.receive(world.now, forged, from.address)
      }
    }
    assert.deepEqual(counted(), heard)
    assert.deepEqual(renewals(world), before)
    world.run(20_000)
    assert.ok(works(world) && alive(world))
  })

  test('cannot bring in later what it held back of old keys', () => {
    const world = new TunnelWorld(new Prng(41), { delay: 20 })
    assert.ok(world.ready())
    world.run(HOUR - 4_000)
    const held: Passing[] = []
    world.onpassing = (passing) => {
      // one in ten never arrives
      if (world.sent % 10 !== 0) return true
      held.push(passing)
      return false
    }
    const { complete } = send(world, world.a, new Prng(1), MIB)
    assert.ok(world.run(20_000, complete))
    world.run(20_000)
    assert.deepEqual(renewals(world), [1, 1])
    const heard = world.b.core.figures.packetsIn
    const old = held.filter(({ data, from }) => from === world.a && data[0] === 0x80)
    assert.ok(old.length > 10)
    for (const { data, from } of old) world.b.core.receive(world.now, Buffer.from(data), from.address)
    assert.equal(world.b.core.figures.packetsIn, heard)
  })
})
