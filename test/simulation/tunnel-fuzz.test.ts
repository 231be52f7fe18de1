import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ordinary } from '../support/tunnel-cost.js'
import { dear, echoes, fuzz } from '../support/tunnel-fuzz.js'

/** Always the same, so that CI fails for a change and for nothing else. `bench/fuzz-frames` goes on from here. */
const SEEDS = Array.from({ length: 12 }, (_, index) => index + 1)
const DATAGRAMS = 250

test('whatever an authentic peer says, a datagram costs less than 200 ordinary ones, and little goes out for it', () => {
  const most = ordinary()
  let datagrams = 0
  for (const seed of SEEDS) {
    const session = fuzz(seed, DATAGRAMS)
    datagrams += session.datagrams
    assert.deepEqual(dear(session, most), [], `seed ${seed}`)
    assert.ok(!echoes(session), `seed ${seed}: ${session.bytesOut} bytes for ${session.bytesIn}`)
  }
  assert.ok(datagrams > (SEEDS.length * DATAGRAMS) / 2, `${datagrams} datagrams`)
})
