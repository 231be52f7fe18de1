import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CORPUS } from '../support/tunnel-corpus.js'
import { cheapest, ordinary } from '../support/tunnel-cost.js'

/** Of a datagram's own bytes, so many times as many may go out for it. */
const MOST_ECHO = 3

/** As often as this each is tried before it is called dear: a busy machine makes everything dear now and then. */
const REPETITIONS = 40

const millisecond = ordinary()

for (const costly of CORPUS) {
  test(`${costly.name}: one datagram costs less than 200 ordinary ones, and brings back little`, () => {
    const { ms, out, bytes } = cheapest(costly, REPETITIONS, millisecond)
    assert.ok(
      ms < millisecond,
      `${ms.toFixed(2)} ms, where 200 ordinary ones cost ${millisecond.toFixed(2)} ms`,
    )
    if (costly.brings !== 'data') assert.ok(out <= MOST_ECHO * bytes, `${out} bytes for ${bytes}`)
  })
}
