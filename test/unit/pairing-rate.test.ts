import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Rate } from '../../src/pairing/rate.js'
import { systemClock } from '../../src/system/index.js'

test('what is within bounds is allowed, for each by itself, and again when time has passed', () => {
  let now = 0
  const rate = new Rate({ ...systemClock, now: () => now }, 2, 1000)
  assert.deepEqual([rate.allows('a'), rate.allows('a'), rate.allows('a')], [true, true, false])
  assert.equal(rate.allows('b'), true)
  now = 1000
  assert.equal(rate.allows('a'), true)
})

test('what costs more is allowed less often, and takes nothing when there is not enough', () => {
  let now = 0
  const rate = new Rate({ ...systemClock, now: () => now }, 3, 3000)
  assert.deepEqual([rate.allows('a', 2), rate.allows('a', 2), rate.allows('a')], [true, false, true])
  assert.equal(rate.wait('a', 2), 2000)
  now = 2000
  assert.equal(rate.wait('a', 2), 0)
  assert.equal(rate.allows('a', 2), true)
})

test('whoever has been quiet for long is forgotten', () => {
  let now = 0
  const rate = new Rate({ ...systemClock, now: () => now }, 2, 1000)
  for (let key = 0; key < 100_000; key++) {
    now += 10
    rate.allows(`key ${key}`)
  }
  assert.ok(rate.size <= 512, `${rate.size} are remembered`)
})
