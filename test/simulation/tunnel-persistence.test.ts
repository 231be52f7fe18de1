import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from './prng.js'
import { TunnelWorld } from './tunnel.js'

const HEADER = Buffer.from('a service')
const CHUNK = Buffer.alloc(64 * 1024)
/** The bottleneck of every path here, in bytes per ms: 16 Mbit/s. */
const RATE = 2_000

/** What one side has to send: as much as goes, or little by little on a stream or a flow. */
type Load = 'much' | 'a little on a stream' | 'a flow of datagrams'

/** A side that sends all the time, over a path that takes only a share of its datagrams from some time on. */
class Sender {
  readonly world: TunnelWorld
  /** Bytes that the other side has read. */
  read = 0
  /** The share of datagrams that pass. */
  passing = 1
  /** Datagrams of the sender in each second, also those that only acknowledge. */
  readonly seconds: number[] = []

  constructor(roundTrip: number, load: Load, ways: 'one way' | 'both ways', seed: number) {
    const prng = new Prng(seed)
    const queue = Math.max(30_000, 1.5 * roundTrip * RATE)
    this.world = new TunnelWorld(prng, { delay: roundTrip / 2, rate: RATE, queue })
    const { world } = this
    for (const side of [world.a, world.b]) {
      side.onevent = (event) => {
        if (event.name === 'flow-data') this.read += event.data.length
        if (event.name !== 'stream' && event.name !== 'readable') return
        for (let data = event.stream.read(world.now); data; data = event.stream.read(world.now))
          this.read += data.length
      }
    }
    assert.ok(world.ready())
    world.run(200)
    world.onpassing = ({ from, time }) => {
      if (from === world.a) {
        const second = Math.floor(time / 1000)
        this.seconds[second] = (this.seconds[second] ?? 0) + 1
      }
      return (ways === 'one way' && from === world.b) || prng.chance(this.passing)
    }
    this.#feed(load)
    world.run(3_000)
  }

  /** Datagrams in each of the seconds from `start` to `end`. */
  sent(start: number, end: number): number[] {
    return Array.from({ length: end - start }, (_, index) => this.seconds[start + index] ?? 0)
  }

  /** Lets a share of the datagrams pass for so many s, and says how many were sent in each. */
  starve(passing: number, seconds: number): number[] {
    const { world } = this
    world.run(Math.ceil(world.now / 1000) * 1000 - world.now)
    const start = Math.round(world.now / 1000)
    this.passing = passing
    world.run(seconds * 1000)
    return this.sent(start, start + seconds)
  }

  #feed(load: Load): void {
    const { world } = this
    const { streams, flows } = world.a.core
    const flow = load === 'a flow of datagrams' ? flows.open(HEADER) : undefined
    const stream = flow ? undefined : streams.open(HEADER)
    const feed = () => {
      if (world.a.core.state !== 'open') return
      if (flow) flows.send(flow, Buffer.alloc(200))
      else if (load === 'a little on a stream') stream?.write(Buffer.alloc(100))
      else while (stream && stream.send.unsent < 4 * CHUNK.length) stream.write(CHUNK)
      world.at(world.now + 5, feed)
      world.pump(world.a)
    }
    feed()
  }
}

const LOADS: readonly Load[] = ['much', 'a little on a stream', 'a flow of datagrams']
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

for (const load of LOADS) {
  for (const passing of [0, 0.05]) {
    test(`where ${passing * 100}% pass, ${load}: first a datagram a round trip, then one in a few seconds`, () => {
      for (const roundTrip of [5, 20, 100]) {
        for (const ways of ['one way', 'both ways'] as const) {
          const sent = new Sender(roundTrip, load, ways, roundTrip).starve(passing, 30)
          const claim = `${roundTrip} ms, ${ways}: ${sent.join(' ')} a second`
          assert.ok(sum(sent.slice(2, 4)) <= Math.max(40, (2 * 2_000) / roundTrip), claim)
          assert.ok(sum(sent.slice(5)) <= 50, claim)
        }
      }
    })
  }

  test(`where half pass, ${load}: no more than two datagrams a round trip`, () => {
    for (const roundTrip of [20, 100]) {
      const sent = new Sender(roundTrip, load, 'one way', roundTrip).starve(0.5, 20)
      const claim = `${roundTrip} ms: ${sent.join(' ')} a second`
      assert.ok(sum(sent.slice(5)) <= (2 * 15_000) / roundTrip, claim)
    }
  })
}

test('a path that comes back is found within 1.5 s, and is full again within the next second', () => {
  for (const roundTrip of [5, 20, 100]) {
    for (const seconds of [1, 3, 8]) {
      const sender = new Sender(roundTrip, 'much', 'both ways', seconds)
      const { world } = sender
      sender.starve(0, seconds)
      sender.passing = 1
      const before = sender.read
      const back = world.now
      const claim = `${roundTrip} ms, ${seconds} s`
      assert.ok(
        world.run(20_000, () => sender.read > before),
        `${claim}: ${world.a.core.state}`,
      )
      assert.ok(world.now - back <= 1_500 + 3 * roundTrip, `${claim}: found after ${world.now - back} ms`)
      world.run(1_000)
      const found = sender.read
      world.run(1_000)
      assert.ok(
        sender.read - found > 0.8 * 1_000 * RATE,
        `${claim}: ${(sender.read - found) / 125_000} Mbit/s`,
      )
    }
  }
})
