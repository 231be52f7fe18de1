import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from './prng.js'
import { type TunnelSide, type TunnelWeather, TunnelWorld } from './tunnel.js'

const HEADER = Buffer.from('a service')
const CHUNK = Buffer.alloc(64 * 1024)
/** How long a transfer lasts, in ms, and the bottleneck of every path here, in bytes per ms: 16 Mbit/s. */
const LASTS = 2_000
const RATE = 2_000

/** A world whose two sides read whatever comes, with the bytes that each has read. */
function reading(weather: TunnelWeather, seed = 5) {
  const { delay = 1 } = weather
  const queue = Math.max(30_000, 3 * delay * RATE)
  const world = new TunnelWorld(new Prng(seed), { rate: RATE, queue, ...weather })
  const read = { a: 0, b: 0 }
  for (const side of [world.a, world.b]) {
    side.onevent = (event) => {
      if (event.name !== 'stream' && event.name !== 'readable') return
      for (let data = event.stream.read(world.now); data; data = event.stream.read(world.now))
        read[side.name] += data.length
    }
  }
  assert.ok(world.ready())
  world.run(200)
  return { world, read }
}

/** Sends on one stream from now on, always with more to send, for so long. */
function fill(world: TunnelWorld, side: TunnelSide, ms: number): void {
  const stream = side.core.streams.open(HEADER)
  const end = world.now + ms
  const feed = () => {
    if (world.now >= end) stream.end()
    else {
      while (stream.send.unsent < 4 * CHUNK.length) stream.write(CHUNK)
      world.at(world.now + 5, feed)
    }
    world.pump(side)
  }
  feed()
}

/** Bytes per ms that arrive of transfers of each side, one after the other with pauses between, or both at once. */
function rates(weather: TunnelWeather, order: readonly ('a' | 'b' | 'both')[], pause = 500): number[] {
  const { world, read } = reading(weather)
  return order.flatMap((who) => {
    const sides = who === 'both' ? [world.a, world.b] : [world[who]]
    const before = { ...read }
    for (const side of sides) fill(world, side, LASTS)
    world.run(LASTS)
    const arrived = sides.map(({ name }) => {
      const to = name === 'a' ? 'b' : 'a'
      return (read[to] - before[to]) / LASTS
    })
    world.run(pause)
    return arrived
  })
}

const shown = (values: readonly number[]) => values.map((value) => (value / 125).toFixed(1)).join(', ')

for (const loss of [0, 0.01]) {
  for (const roundTrip of [5, 10, 20, 50, 100]) {
    test(`${roundTrip} ms and ${loss * 100}% loss: each direction in any order is as fast as a fresh tunnel`, () => {
      const weather = { delay: roundTrip / 2, loss }
      const orders = {
        'up, down, up': rates(weather, ['a', 'b', 'a']),
        'down, up, down': rates(weather, ['b', 'a', 'b']),
        'both at once': rates(weather, ['both']),
        'bursts with pauses': rates(weather, ['a', 'a', 'a'], 12_000),
      }
      const [fresh = 0] = orders['up, down, up']
      for (const [order, all] of Object.entries(orders)) {
        // with losses it is a matter of luck which stream waits for what was lost
        const share = loss === 0 ? 0.7 : 0.5
        assert.ok(Math.min(...all) >= share * fresh, `${order}: ${shown(all)} of ${shown([fresh])} Mbit/s`)
      }
    })
  }
}

test('what a side loses that has little to say does not slow down what it sends later', () => {
  for (const roundTrip of [5, 10, 20, 50, 100]) {
    const delay = roundTrip / 2
    const [fresh = 0] = rates({ delay }, ['a'])
    const { world, read } = reading({ delay, loss: 0.08 })
    const typing = world.a.core.streams.open(HEADER)
    for (let key = 0; key < 1_000; key++) {
      typing.write(Buffer.from('x'))
      world.pump(world.a)
      world.run(20)
    }
    world.weather = { ...world.weather, loss: 0 }
    world.run(500)
    const before = read.b
    fill(world, world.a, LASTS)
    world.run(LASTS)
    const later = (read.b - before) / LASTS
    assert.ok(later > 0.8 * fresh, `${roundTrip} ms: ${shown([later])} of ${shown([fresh])} Mbit/s`)
  }
})

test('a side that only acknowledges learns nothing of the path, and is in startup when it begins to send', () => {
  const { world } = reading({ delay: 10 })
  fill(world, world.b, 4_000)
  world.run(4_500)
  assert.equal(world.a.core.figures.congestion.state, 'startup')
})

test('twenty connections started over a minute are each as fast as the first', () => {
  const { world } = reading({ delay: 10, loss: 0.005 })
  const took: number[] = []
  for (let count = 0; count < 20; count++) {
    const began = world.now
    const stream = world.a.core.streams.open(HEADER)
    stream.write(Buffer.alloc(500_000))
    stream.end()
    world.pump(world.a)
    assert.ok(world.run(3_000, () => stream.send.done))
    took.push(world.now - began)
    world.run(began + 3_000 - world.now)
  }
  const [first = 0] = took
  assert.ok(Math.max(...took) < 2 * first, took.map(Math.round).join(' '))
})
