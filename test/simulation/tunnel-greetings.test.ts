import assert from 'node:assert/strict'
import { describe, mock, test } from 'node:test'
import { type Endpoint, sameEndpoint } from '../../src/net/index.js'
import { sodium } from '../../src/wormhole/tunnel/libsodium.js'
import { Prng } from './prng.js'
import { ADDRESS, DATE, sinks, TunnelWorld, type TunnelWorldOptions } from './tunnel.js'

const VICTIM: Endpoint = { address: '198.51.100.9', port: 53 }
const HOUR = 3_600_000

/** A peer of the first revision: its greetings have no time, and it knows no CONFIRM. */
const OLDER = { revision: 0 } as const

/** The greetings that one side sent in each of `count` earlier tunnels under the same key: whoever saw the path has them. */
function recorded(side: 'a' | 'b', count: number, options: TunnelWorldOptions = {}): Buffer[] {
  return Array.from({ length: count }, (_, run) => {
    // a responder that is there first knocks; it began up to five minutes before
    const date = DATE - 300_000 + run
    const world = new TunnelWorld(new Prng(1_000 + run), { delay: 1 }, 0, { date, ...options })
    const greetings: Buffer[] = []
    world.onpassing = ({ from, data }) => {
      if (from === world[side] && data.length === 128 && (data[0] as number) < 0x80) greetings.push(data)
      return true
    }
    assert.ok(world.ready())
    return greetings[0] ?? assert.fail('no greeting')
  })
}

/** Replays to one side what was recorded, one each ms, in turn from these addresses. */
function replay(
  world: TunnelWorld,
  side: 'a' | 'b',
  { greetings, sources, ms }: { greetings: readonly Buffer[]; sources: readonly Endpoint[]; ms: number },
): void {
  const from = world.now
  for (let at = 0; at < ms; at++) {
    const data = greetings[at % greetings.length] as Buffer
    const source = sources[at % sources.length] as Endpoint
    world.at(from + at, () => world.inject(world[side], data, source))
  }
}

/** What is written at `a` comes out at `b`. */
function works(world: TunnelWorld, ms = 1_000): boolean {
  const read = sinks(world, world.b)
  const stream = world.a.core.streams.open(Buffer.from('a service'))
  stream.write(Buffer.from('here'))
  world.pump(world.a)
  return world.run(ms, () => read.get(stream.id)?.length === 4)
}

const SOURCES = [
  ['from elsewhere', [VICTIM]],
  ['from the address of the peer', [ADDRESS.a]],
  ['from both', [VICTIM, ADDRESS.a]],
] as const

describe('HELLOs recorded of earlier tunnels under the same key', () => {
  const greetings = recorded('a', 33)
  const older = recorded('a', 33, { a: OLDER, b: OLDER })

  for (const [where, sources] of SOURCES) {
    test(`${where}: the true peer gets in all the same`, () => {
      for (const hellos of [greetings, older]) {
        const world = new TunnelWorld(new Prng(1), { delay: 20 })
        replay(world, 'b', { greetings: hellos, sources, ms: 2_000 })
        assert.ok(world.ready(1_000))
        assert.ok(works(world))
      }
    })
  }

  test('from elsewhere: an older peer gets in all the same', () => {
    const world = new TunnelWorld(new Prng(1), { delay: 20 }, 0, { a: OLDER })
    replay(world, 'b', { greetings: older, sources: [VICTIM], ms: 2_000 })
    assert.ok(world.ready(1_000))
    assert.ok(works(world))
  })

  test('cost no key agreement', () => {
    for (const hellos of [greetings, older]) {
      const world = new TunnelWorld(new Prng(2))
      world.a.core.close(0, '')
      const agree = mock.method(sodium(), 'crypto_scalarmult')
      replay(world, 'b', { greetings: hellos, sources: [VICTIM, ADDRESS.a], ms: 9_000 })
      world.run(9_000)
      assert.equal(agree.mock.callCount(), 0)
      agree.mock.restore()
    }
  })

  test('with noise behind them, which could be that of an older peer, cost few', () => {
    const prng = new Prng(3)
    const world = new TunnelWorld(prng)
    world.a.core.close(0, '')
    const agree = mock.method(sodium(), 'crypto_scalarmult')
    for (let at = 0; at < 9_000; at++) {
      const from = at % 2 === 0 ? VICTIM : ADDRESS.a
      const noise = prng.bytes(48)
      noise[0] = 0x80
      noise.writeUIntBE(0, 1, 6)
      world.at(at, () => world.inject(world.b, older[at % older.length] as Buffer, from))
      world.at(at, () => world.inject(world.b, noise, from))
    }
    world.run(9_000)
    const { length } = agree.mock.calls
    agree.mock.restore()
    assert.ok(length <= 8 + 4 + 9 * (16 + 4), `${length} in 9 s`)
  })

  test('that are a quarter of an hour old are not answered where nobody is expected', () => {
    const world = new TunnelWorld(new Prng(4), {}, 0, { date: DATE + HOUR })
    world.a.core.close(0, '')
    const answered: Endpoint[] = []
    world.onpassing = ({ from, to }) => {
      if (from === world.b) answered.push(to)
      return true
    }
    replay(world, 'b', { greetings, sources: [VICTIM], ms: 1_000 })
    world.run(1_000)
    assert.equal(answered.filter((to) => sameEndpoint(to, VICTIM)).length, 0)
    // whose clock is wrong is answered where it is expected
    const wrong = new TunnelWorld(new Prng(5), { delay: 20 }, 0, { a: { date: 1_000 } })
    assert.ok(wrong.ready(1_000))
  })
})

test('a recorded CONFIRM is none in the next tunnel, and costs no key agreement', () => {
  const confirms: Buffer[] = []
  const first = new TunnelWorld(new Prng(6), { delay: 5 })
  first.onpassing = ({ from, data }) => {
    if (from === first.a && data.length === 128 && (data[0] as number) < 0x80) confirms.push(data)
    return true
  }
  assert.ok(first.ready())
  assert.ok(confirms.length >= 2)
  const second = new TunnelWorld(new Prng(7))
  second.a.core.close(0, '')
  const agree = mock.method(sodium(), 'crypto_scalarmult')
  replay(second, 'b', { greetings: confirms, sources: [ADDRESS.a], ms: 1_000 })
  second.run(1_000)
  assert.equal(agree.mock.callCount(), 0)
  agree.mock.restore()
  assert.ok(!second.b.has('ready'))
})

test('recorded greetings make an open tunnel ask nothing, while a peer that was started again is noticed', () => {
  const hellos = recorded('a', 8)
  const knocks = recorded('b', 8)
  for (const [side, greetings] of [
    ['b', hellos],
    ['a', knocks],
  ] as const) {
    const world = new TunnelWorld(new Prng(8), { delay: 5 })
    assert.ok(world.ready())
    world.run(1_000)
    const before = world.sent
    replay(world, side, { greetings, sources: [VICTIM, ADDRESS[side === 'a' ? 'b' : 'a']], ms: 1_000 })
    world.run(1_000)
    assert.equal(world.sent, before)
  }
  const world = new TunnelWorld(new Prng(9), { delay: 5 })
  assert.ok(world.ready())
  const again = new TunnelWorld(new Prng(10), {}, 0, { date: DATE + 10_000 })
  const fresh: Buffer[] = []
  again.onpassing = ({ from, data }) => {
    if (from === again.a && fresh.length === 0) fresh.push(data)
    return true
  }
  again.run(10)
  world.run(10_000)
  world.a.started = false // the process that knew the tunnel is gone
  world.inject(world.b, fresh[0] as Buffer, ADDRESS.a)
  assert.ok(world.run(3_100, () => world.b.has('over')))
})

test('whatever is lost of the greetings, both sides get to know each other', () => {
  for (let seed = 0; seed < 60; seed++) {
    const world = new TunnelWorld(new Prng(seed), { delay: 20, loss: 0.4 })
    assert.ok(world.ready(), `seed ${seed}`)
    assert.ok(works(world, 10_000), `seed ${seed}`)
  }
})

test('a responder that hears no CONFIRM is sent it until it sends frames, and no longer', () => {
  const world = new TunnelWorld(new Prng(11), { delay: 20 })
  let confirms = 0
  world.onpassing = ({ from, data }) => {
    const greeting = data.length === 128 && (data[0] as number) < 0x80
    if (!world.a.has('ready') || from !== world.a || !greeting) return true
    return ++confirms > 5
  }
  assert.ok(world.ready())
  world.run(100)
  const { length } = world.a.events
  const sent = confirms
  world.run(20_000)
  assert.equal(confirms, sent)
  assert.equal(world.a.events.length, length)
})

for (const [who, options] of [
  ['initiator', { a: OLDER }],
  ['responder', { b: OLDER }],
] as const) {
  test(`an older ${who} is met as before`, () => {
    for (let seed = 0; seed < 20; seed++) {
      const world = new TunnelWorld(new Prng(seed), { delay: 20, loss: seed < 10 ? 0 : 0.2 }, 0, options)
      assert.ok(world.ready(), `seed ${seed}`)
      assert.ok(works(world, 5_000), `seed ${seed}`)
    }
  })
}
