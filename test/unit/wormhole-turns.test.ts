import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Budget, UNBOUNDED } from '../../src/budget/index.js'
import { type Clock, silent } from '../../src/net/index.js'
import { systemClock } from '../../src/system/index.js'
import { encodeHeader } from '../../src/wormhole/header.js'
import { Link, type Router } from '../../src/wormhole/index.js'
import { Turns } from '../../src/wormhole/turns.js'
import { tunnelPair } from '../support/tunnel-pair.js'

/** A loop and a clock that go on when they are told to. */
class Loop {
  time = 0
  #next: (() => void)[] = []
  #timers: { at: number; callback: () => void }[] = []
  readonly clock: Clock = {
    now: () => this.time,
    date: () => this.time,
    timer: (ms, callback) => {
      this.#timers.push({ at: this.time + ms, callback })
      return () => {}
    },
  }
  readonly turns = new Turns(this.clock, (callback) => void this.#next.push(callback))

  /** One turn. @returns what was begun in it */
  turn(begun: string[]): string[] {
    const before = begun.length
    const due = this.#timers.filter(({ at }) => at <= this.time)
    this.#timers = this.#timers.filter(({ at }) => at > this.time)
    for (const { callback } of due) callback()
    for (const callback of this.#next.splice(0)) callback()
    return begun.slice(before)
  }
}

describe('what peers open', () => {
  test('is begun at once where it is little', () => {
    const { turns } = new Loop()
    const begun: string[] = []
    for (let count = 0; count < 4; count++) turns.take('alice', () => begun.push('alice'))
    assert.equal(begun.length, 4)
  })

  test('is begun a little in each turn of the loop where it is much, and nobody waits behind another', () => {
    const loop = new Loop()
    const begun: string[] = []
    for (let count = 0; count < 2000; count++) loop.turns.take('mallory', () => begun.push('mallory'))
    assert.equal(begun.length, 4)
    loop.turns.take('alice', () => begun.push('alice'))
    assert.deepEqual(loop.turn(begun).sort(), ['alice', 'mallory'])
    for (let turn = 0; turn < 100; turn++) assert.equal(loop.turn(begun).length, 1)
  })

  test('is 4,096 at once and 250 a second for one peer, over all of its tunnels', () => {
    const loop = new Loop()
    const begun: string[] = []
    for (let count = 0; count < 10_000; count++) loop.turns.take('mallory', () => begun.push('mallory'))
    for (let turn = 0; turn < 5000; turn++) loop.turn(begun)
    assert.equal(begun.length, 4096)
    for (let ms = 0; ms < 4000; ms++) {
      loop.time++
      loop.turn(begun)
    }
    const more = begun.length - 4096
    assert.ok(more >= 990 && more <= 1000, `${more} in 4 s`)
    loop.turns.take('alice', () => begun.push('alice'))
    loop.turn(begun)
    assert.equal(begun.at(-1), 'alice')
  })

  test('is forgotten when it was given up, and so is who asked', () => {
    const loop = new Loop()
    const begun: string[] = []
    const giveUp = Array.from({ length: 100 }, () => loop.turns.take('mallory', () => begun.push('mallory')))
    for (const give of giveUp) give()
    assert.equal(loop.turns.held.waiting, 0)
    loop.time += 60_000
    loop.turn(begun)
    assert.deepEqual(loop.turns.held, { peers: 0, waiting: 0 })
    assert.equal(begun.length, 4)
  })

  test('is begun in turns too where it is flows of datagrams', async () => {
    const [near, far] = tunnelPair()
    let asked = 0
    const router: Router = () => {
      asked++
      return { kind: 'refused', code: 'SERVICE_UNKNOWN', sentence: 'There is none.' }
    }
    const link = new Link(far, 'mallory@m.test/1', router, {
      clock: systemClock,
      log: silent,
      budget: new Budget(UNBOUNDED),
    })
    const header = encodeHeader({ carries: 'datagrams', name: 'dns' })
    const flows = Array.from({ length: 400 }, () => near.openFlow(header))
    let most = 0
    for (let before = 0; asked < flows.length; before = asked) {
      await new Promise((resolve) => setImmediate(resolve))
      most = Math.max(most, asked - before)
    }
    assert.ok(most <= 8, `${most} in one turn of the loop`)
    await Promise.all(flows.map(({ closed }) => closed))
    await link.close()
  })
})
