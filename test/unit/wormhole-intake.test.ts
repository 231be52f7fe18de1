import assert from 'node:assert/strict'
import { PassThrough, Writable } from 'node:stream'
import { describe, test } from 'node:test'
import type { Clock } from '../../src/net/index.js'
import { Intake, type Seat } from '../../src/wormhole/intake.js'
import { pump } from '../../src/wormhole/pump.js'

const MOST = 4 * 2 ** 20
const READ = 64 * 1024

/** A clock that goes on when it is told to. */
class Hand {
  time = 0
  #timers: { at: number; callback: () => void }[] = []
  readonly clock: Clock = {
    now: () => this.time,
    date: () => this.time,
    timer: (ms, callback) => {
      const timer = { at: this.time + ms, callback }
      this.#timers.push(timer)
      return () => {
        this.#timers = this.#timers.filter((each) => each !== timer)
      }
    },
  }

  pass(ms: number): void {
    this.time += ms
    const due = this.#timers.filter(({ at }) => at <= this.time)
    this.#timers = this.#timers.filter(({ at }) => at > this.time)
    for (const { callback } of due) callback()
  }
}

/** A connection that may read, waits for it, or has read. */
function connection(intake: Intake) {
  const told = { next: 0 }
  const seat: Seat = intake.seat(() => {
    if (seat.take()) told.next++
  })
  return { seat, told }
}

describe('what is read of local connections', () => {
  test('is bounded over all of a tunnel, however many have something to say', () => {
    const intake = new Intake(new Hand().clock)
    const all = Array.from({ length: 1000 }, () => connection(intake))
    const reading = all.filter(({ seat }) => seat.take())
    assert.equal(reading.length, MOST / READ)
    for (const { seat } of reading) seat.full(READ, false)
    assert.equal(intake.held, MOST)
    reading[0]?.seat.drained()
    assert.equal(
      all.reduce((sum, { told }) => sum + told.next, 0),
      1,
      'one goes on for each that is done',
    )
  })

  test('waits for nobody who is idle', () => {
    const hand = new Hand()
    const intake = new Intake(hand.clock)
    let read = 0
    for (let count = 0; count < 200; count++) {
      const look = () => {
        if (!seat.take()) return
        read++
        seat.empty()
      }
      const seat: Seat = intake.seat(look)
      look()
    }
    assert.equal(read, MOST / READ)
    for (let step = 0; step < 5; step++) hand.pass(20)
    assert.equal(read, 200)
    assert.equal(intake.held, 0)
  })

  test('is never kept waiting where it comes in small pieces', () => {
    const intake = new Intake(new Hand().clock)
    const typed = connection(intake)
    assert.ok(typed.seat.take())
    typed.seat.full(40, true)
    for (let count = 0; count < 200; count++) {
      const { seat } = connection(intake)
      if (seat.take()) seat.full(READ, false)
    }
    assert.ok(!connection(intake).seat.take())
    assert.ok(typed.seat.take())
  })

  test('who has just come is before those who have been read already', () => {
    const intake = new Intake(new Hand().clock)
    const large = Array.from({ length: MOST / READ }, () => connection(intake))
    for (const { seat } of large) {
      seat.take()
      seat.full(READ, true)
    }
    for (const { seat } of large) assert.ok(seat.take())
    for (const { seat } of large) seat.full(READ, false)
    const again = connection(intake)
    again.seat.full(READ, true)
    assert.ok(!again.seat.take())
    const fresh = connection(intake)
    assert.ok(!fresh.seat.take())
    large[0]?.seat.leave()
    assert.deepEqual([again.told.next, fresh.told.next], [0, 1])
  })

  test('goes on beside any number of readers that sleep', () => {
    const hand = new Hand()
    const intake = new Intake(hand.clock)
    for (let count = 0; count < MOST / READ; count++) {
      const { seat } = connection(intake)
      assert.ok(seat.take())
      seat.full(READ, false)
    }
    const fresh = connection(intake)
    assert.ok(!fresh.seat.take())
    for (let step = 0; step < 30; step++) hand.pass(20)
    assert.equal(fresh.told.next, 1)
  })

  test('leaves nothing behind when they end', () => {
    const intake = new Intake(new Hand().clock)
    const all = Array.from({ length: 300 }, () => connection(intake))
    for (const { seat } of all) if (seat.take()) seat.full(READ, false)
    for (const { seat } of all) seat.leave()
    assert.equal(intake.held, 0)
  })
})

test('a pump passes everything on, whoever has to wait', async () => {
  const hand = new Hand()
  const intake = new Intake(hand.clock)
  const sizes = [1, 40, 5_000, 70_000, 3_000_000]
  const got = new Map<number, number>()
  const done = Array.from({ length: 150 }, (_, index) => {
    const from = new PassThrough({ readableHighWaterMark: 0 })
    const size = sizes[index % sizes.length] ?? 0
    let heard = 0
    const to = new Writable({
      highWaterMark: 16_384,
      write: (chunk: Buffer, _encoding, callback) => {
        heard += chunk.length
        setImmediate(callback)
      },
    })
    const ended = new Promise<void>((resolve) => {
      to.once('finish', () => {
        got.set(index, heard)
        resolve()
      })
    })
    pump(from, to, intake)
    for (let left = size; left > 0; left -= READ) from.write(Buffer.alloc(Math.min(left, READ)))
    from.end()
    return ended
  })
  const passing = setInterval(() => hand.pass(20), 1)
  await Promise.all(done)
  clearInterval(passing)
  for (const [index, heard] of got) assert.equal(heard, sizes[index % sizes.length])
  hand.pass(20)
  assert.equal(intake.held, 0)
})
