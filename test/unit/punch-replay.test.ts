import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReplayWindow } from '../../src/punch/replay.js'

test('a counter counts once, in any order, unless it is 4096 behind', () => {
  const steps = fc.array(fc.oneof(fc.integer({ min: -1100, max: 40 }), fc.integer({ min: 0, max: 5_000 })), {
    maxLength: 200,
  })
  fc.assert(
    fc.property(steps, (offsets) => {
      const window = new ReplayWindow()
      const seen = new Set<number>()
      let highest = -1
      for (const offset of offsets) {
        const counter = Math.max(0, highest + offset)
        const fresh = !seen.has(counter) && counter > highest - 4096
        assert.equal(window.accept(counter), fresh)
        seen.add(counter)
        highest = Math.max(highest, counter)
      }
    }),
  )
})

test('the last counter there is does not upset the window', () => {
  const window = new ReplayWindow()
  assert.equal(window.accept(0xffffffff), true)
  assert.equal(window.accept(0xffffffff), false)
  assert.equal(window.accept(0xfffffffe), true)
  assert.equal(window.accept(0), false)
})
