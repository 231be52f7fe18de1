import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FrameWriter } from '../../src/wormhole/tunnel/frame.js'
import { TunnelAdversary } from '../support/tunnel-adversary.js'
import { CORPUS } from '../support/tunnel-corpus.js'
import { cheapest, ordinary } from '../support/tunnel-cost.js'
import { ADDRESS } from './tunnel.js'

/** Of a datagram's own bytes, so many times as many may go out for it. */
const MOST_ECHO = 3

/** As often as this each is tried before it is called dear: a busy machine makes everything dear now and then. */
const REPETITIONS = 40

/** What is opened and never begun is given up after this long, in ms. */
const HEADER_TIME = 60_000

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

/** A stream frame with these bytes. */
const piece = (id: number, data: Uint8Array) => (writer: FrameWriter) => {
  writer.stream(id, 0, data.length, false)
  writer.target.set(data, writer.at)
  writer.at += data.length
}

test('a stream whose header is begun and never finished ends after a minute', () => {
  const adversary = new TunnelAdversary()
  adversary.say(piece(0, Buffer.from([0])))
  adversary.say(piece(2, Buffer.from([0, 1, 120])))
  const wait = (ms: number) => {
    for (const end = adversary.now + ms; adversary.now < end; ) {
      adversary.pass(5_000)
      adversary.say((writer) => writer.ping())
      adversary.acknowledge()
    }
  }
  wait(HEADER_TIME - 15_000)
  assert.equal(adversary.victim.figures.streams, 2)
  wait(20_000)
  assert.equal(adversary.victim.figures.streams, 1, 'the one that was begun')
  assert.equal(adversary.victim.state, 'open')
})

test('the end of a tunnel breaks off its streams and flows little by little, and is told last', () => {
  const adversary = new TunnelAdversary()
  for (let id = 0; id < 2_000; id += 2) {
    adversary.say(piece(id, Buffer.from([0, 1, 120])))
    adversary.say((writer) => writer.flowOpen(id, Buffer.alloc(0)))
    if (id % 100 === 0) adversary.acknowledge(adversary.got.slice(-50))
  }
  const { victim } = adversary
  assert.deepEqual([victim.figures.streams, victim.figures.flows], [1_000, 1_000])
  victim.receive(
    adversary.now,
    adversary.datagram((writer) => writer.close(Buffer.alloc(0))),
    ADDRESS.a,
  )
  const told: string[] = []
  for (let events = victim.events(); events.length > 0; events = victim.events()) {
    assert.ok(events.length <= 128, `${events.length} at once`)
    told.push(...events.map(({ name }) => name))
  }
  assert.equal(told.filter((name) => name === 'reset').length, 1_000)
  assert.equal(told.filter((name) => name === 'flow-closed').length, 1_000)
  assert.equal(told.at(-1), 'over')
  assert.deepEqual([victim.figures.streams, victim.figures.flows], [0, 0])
})
