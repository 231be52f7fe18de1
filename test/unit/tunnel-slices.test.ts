import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Clock } from '../../src/net/index.js'
import { Arrivals } from '../../src/wormhole/tunnel/arrivals.js'
import { Fifo } from '../../src/wormhole/tunnel/fifo.js'
import { type Place, Slices } from '../../src/wormhole/tunnel/slices.js'

/** An event loop whose time passes only by what is done in it, and in 0.1 ms for each of its turns. */
class Loop {
  time = 0
  turns = 0
  #next: (() => void)[] = []
  readonly clock: Clock = { now: () => this.time, date: () => 0, timer: () => () => {} }
  readonly slices = new Slices(
    this.clock,
    (callback) => void this.#next.push(callback),
    (callback) => callback(),
  )

  turn(): number {
    const began = this.time
    this.time += 0.1
    this.turns++
    for (const callback of this.#next.splice(0)) callback()
    return this.time - began
  }
}

/** A tunnel with datagrams that cost so much each, in ms. */
class Flooded {
  readonly #loop: Loop
  readonly #place: Place
  readonly #cost: number
  readonly came = new Fifo<number>()
  readonly waited: number[] = []
  done = 0

  constructor(loop: Loop, peer: string | undefined, cost: number) {
    this.#loop = loop
    this.#cost = cost
    this.#place = loop.slices.join(this, peer)
  }

  come(count = 1): void {
    for (let each = 0; each < count; each++) this.came.push(this.#loop.time)
    this.#place.wake()
  }

  work(until: number): boolean {
    for (let came = this.came.shift(); came !== undefined; came = this.came.shift()) {
      this.#loop.time += this.#cost
      this.done++
      this.waited.push(this.#loop.time - came)
      if (this.#loop.time >= until) break
    }
    return this.came.length > 0
  }

  leave(): void {
    this.#place.leave()
  }
}

const worst = (values: readonly number[]) => Math.max(...values)

describe('time on the event loop', () => {
  test('is given at once to whoever is alone', () => {
    const loop = new Loop()
    const alone = new Flooded(loop, 'alice', 0.01)
    alone.come(300)
    loop.turn()
    assert.equal(alone.done, 300)
  })

  test('is shared: who has little to do waits for a slice of another, however much that one has to do', () => {
    for (const cost of [0.01, 0.2, 3, 20]) {
      const loop = new Loop()
      const hostile = new Flooded(loop, 'mallory', cost)
      const honest = new Flooded(loop, 'alice', 0.02)
      hostile.come(100_000)
      loop.turn()
      for (let turn = 0; turn < 1_000; turn++) {
        if (turn % 3 === 0) honest.come()
        loop.turn()
      }
      assert.equal(honest.came.length, 0)
      assert.ok(
        worst(honest.waited) <= Math.max(cost, 1.5) + cost + 1,
        `${worst(honest.waited)} ms at ${cost} ms each`,
      )
    }
  })

  test('is in equal shares where both have much to do, whatever a datagram costs', () => {
    const loop = new Loop()
    const [dear, cheap] = [new Flooded(loop, 'mallory', 9), new Flooded(loop, 'alice', 0.02)]
    dear.come(100_000)
    cheap.come(400_000)
    while (loop.time < 10_000) loop.turn()
    const shares = [dear.done * 9, cheap.done * 0.02] as const
    assert.ok(shares[0] / shares[1] > 0.8 && shares[0] / shares[1] < 1.25, `${shares}`)
  })

  test('is shared between peers, not between tunnels', () => {
    const loop = new Loop()
    const many = Array.from({ length: 50 }, () => new Flooded(loop, 'mallory', 0.5))
    const one = new Flooded(loop, 'alice', 0.5)
    for (const each of [...many, one]) each.come(100_000)
    while (loop.time < 5_000) loop.turn()
    const theirs = many.reduce((sum, { done }) => sum + done, 0)
    assert.ok(one.done > theirs * 0.8 && one.done < theirs * 1.25, `${one.done} and ${theirs}`)
    const [least, most] = [Math.min(...many.map(({ done }) => done)), worst(many.map(({ done }) => done))]
    assert.ok(most - least <= 10, 'each of the 50 has its turn')
  })

  test('leaves room in each turn of the loop for everything else, however many peers there are', () => {
    const loop = new Loop()
    const all = Array.from({ length: 200 }, (_, index) => new Flooded(loop, `peer ${index}`, 0.1))
    for (const each of all) each.come(10_000)
    for (let turn = 0; turn < 500; turn++) assert.ok(loop.turn() < 8)
    assert.ok(all.every(({ done }) => done > 0))
  })

  test('that was not used is not saved up, and a debt is not forgotten by a pause', () => {
    const loop = new Loop()
    const [dear, cheap] = [new Flooded(loop, 'mallory', 8), new Flooded(loop, 'alice', 0.1)]
    // one datagram at a time, and nothing in between: still not more than its share
    cheap.come(100_000)
    while (loop.time < 10_000) {
      dear.come(dear.came.length === 0 ? 1 : 0)
      loop.turn()
    }
    assert.ok(dear.done * 8 < 0.6 * loop.time, `${dear.done * 8} of ${loop.time} ms`)
    const late = new Flooded(loop, 'bob', 0.1)
    const before = cheap.done
    late.come(100_000)
    while (loop.time < 11_000) loop.turn()
    assert.ok(cheap.done - before > 2_000, 'who comes late has no claim to what was before')
  })

  test("is nobody's any more who has left", () => {
    const loop = new Loop()
    const all = Array.from({ length: 10 }, (_, index) => new Flooded(loop, `peer ${index % 3}`, 0.1))
    all.push(new Flooded(loop, undefined, 0.1))
    for (const each of all) each.come(100)
    loop.turn()
    for (const each of all) each.leave()
    assert.equal(loop.slices.size, 0)
    const done = all.reduce((sum, each) => sum + each.done, 0)
    for (let turn = 0; turn < 20; turn++) loop.turn()
    assert.equal(
      all.reduce((sum, each) => sum + each.done, 0),
      done,
    )
  })
})

test('datagrams that wait are bounded, in number and in bytes; what is beyond is lost', () => {
  const from = { address: '192.0.2.1', port: 1 }
  for (const [size, most] of [
    [48, 4096],
    [65_000, 64],
  ] as const) {
    const arrivals = new Arrivals()
    const data = Buffer.alloc(size)
    let taken = 0
    for (let count = 0; count < 10_000; count++) if (arrivals.add({ data, from }, count)) taken++
    assert.equal(taken, most)
    assert.equal(arrivals.next()?.at, 0)
    assert.ok(arrivals.add({ data, from }, 1))
    arrivals.clear()
    assert.equal(arrivals.next(), undefined)
    assert.ok(arrivals.add({ data, from }, 1))
  }
})
