import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../src/net/index.js'
import { Untaken } from '../../src/wormhole/tunnel/untaken.js'

/** A clock that stands still until it is moved. */
class HandClock implements Clock {
  #now = 0
  readonly timers = new Set<{ readonly at: number; readonly run: () => void }>()
  readonly now = () => this.#now
  readonly date = () => this.#now
  timer(delay: number, run: () => void): () => void {
    const timer = { at: this.#now + delay, run }
    this.timers.add(timer)
    return () => this.timers.delete(timer)
  }

  move(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const [next] = [...this.timers].sort((a, b) => a.at - b.at)
      if (!next || next.at > end) break
      this.timers.delete(next)
      this.#now = next.at
      next.run()
    }
    this.#now = end
  }
}

test('what nobody takes is given up after a minute, what is taken or ended is not, and no timer is left', () => {
  const clock = new HandClock()
  const given: string[] = []
  const untaken = new Untaken<string>(clock, (opened) => given.push(opened))
  untaken.add('first', Buffer.from('1'))
  clock.move(30_000)
  untaken.add('second', Buffer.from('2'))
  untaken.add('ended', Buffer.from('3'))
  untaken.delete('ended')
  clock.move(31_000)
  assert.deepEqual(given, ['first'])
  assert.deepEqual(untaken.takeAll(), [['second', Buffer.from('2')]])
  clock.move(60_000)
  assert.deepEqual(given, ['first'])
  assert.equal(clock.timers.size, 0)
})

test('thousands that nobody takes are given up little by little, and all of them', () => {
  const clock = new HandClock()
  let [given, turn, most] = [0, 0, 0]
  const untaken = new Untaken<number>(clock, () => {
    given++
    most = Math.max(most, ++turn)
  })
  for (let each = 0; each < 4_096; each++) untaken.add(each, Buffer.alloc(0))
  clock.move(59_999)
  assert.equal(given, 0)
  for (let ms = 0; ms < 200; ms++) {
    turn = 0
    clock.move(1)
  }
  assert.equal(given, 4_096)
  assert.ok(most <= 64, `${most} at once`)
  assert.equal(clock.timers.size, 0)
})
