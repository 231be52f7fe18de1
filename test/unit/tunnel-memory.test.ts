import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Budget } from '../../src/budget/index.js'
import { asPlexusError } from '../../src/errors/index.js'
import { silent } from '../../src/net/index.js'
import { systemClock } from '../../src/system/index.js'
import { Allotment } from '../../src/wormhole/tunnel/allotment.js'
import { ControlQueue } from '../../src/wormhole/tunnel/control.js'
import { FrameWriter } from '../../src/wormhole/tunnel/frame.js'
import { RoundTrip } from '../../src/wormhole/tunnel/round-trip.js'
import type { CoreStream, StreamDelivery } from '../../src/wormhole/tunnel/stream.js'
import { Streams } from '../../src/wormhole/tunnel/streams.js'

const MEBIBYTE = 2 ** 20
const MANY = Number.POSITIVE_INFINITY

/** The streams of a tunnel of that identity. */
function tunnelOf(budget: Budget, identity: string): { streams: Streams; allotment: Allotment } {
  const allotment = new Allotment(budget.share(identity), { clock: systemClock, log: silent })
  const streams = new Streams(true, new ControlQueue(), new RoundTrip(), () => {}, allotment)
  return { streams, allotment }
}

/** Sends all that may be sent, to a peer that takes everything and acknowledges nothing. @returns bytes that are kept */
function unacknowledged(streams: Streams): number {
  const block = Buffer.alloc(MEBIBYTE)
  const target = Buffer.alloc(1200)
  const all: CoreStream[] = []
  try {
    while (all.length < 8) all.push(streams.open(Buffer.alloc(1)))
  } catch (thrown) {
    assert.equal(asPlexusError(thrown).code, 'BUSY')
  }
  for (const stream of all) {
    streams.allowed(stream.id, Number.MAX_SAFE_INTEGER)
    for (let count = 0; count < 8; count++) stream.write(block)
  }
  for (let deliveries: StreamDelivery[] = []; streams.waiting; deliveries = []) {
    streams.write(new FrameWriter(target, 0, target.length), deliveries as never)
    if (deliveries.length === 0) break
  }
  return all.reduce((sum, { send }) => sum + send.retained, 0)
}

const held = (budget: Budget, identity: string) => budget.heldBy(identity).memory / MEBIBYTE

describe('what a tunnel keeps until it is acknowledged', () => {
  const bounded = () => new Budget({ tunnels: 100, descriptors: 1000, ports: MANY, memory: 64 * MEBIBYTE })

  test('is bounded over all tunnels of an identity, and another one still sends at once', () => {
    const budget = bounded()
    const tunnels = Array.from({ length: 7 }, () => tunnelOf(budget, 'mallory'))
    const kept = tunnels.reduce((sum, { streams }) => sum + unacknowledged(streams), 0) / MEBIBYTE
    // 32 KiB of each stream are paid with it
    assert.ok(kept < 56 + 7 * 8 * 0.04, `${kept} MiB are kept`)
    assert.ok(kept > 20, 'it is the bound of the identity, not that of a stream, which holds')
    assert.ok(held(budget, 'mallory') <= 56)
    assert.ok(unacknowledged(tunnelOf(budget, 'alice').streams) > MEBIBYTE)
  })

  test('is given back: by reset, and by the end of the tunnel, once', () => {
    const budget = bounded()
    const one = tunnelOf(budget, 'mallory')
    const other = tunnelOf(budget, 'mallory')
    const idle = budget.used
    for (const { streams } of [one, other]) unacknowledged(streams)
    one.streams.endAll('It is over.')
    one.streams.breakOff()
    one.allotment.end()
    one.allotment.end()
    other.streams.endAll('It is over as well.')
    other.streams.breakOff()
    assert.deepEqual(budget.used, { ...idle, tunnels: 1, descriptors: 2, memory: idle.memory / 2 })
    other.allotment.end()
    assert.deepEqual(budget.used, { tunnels: 0, descriptors: 0, ports: 0, memory: 0 })
  })

  test('is all of it given back when everything was acknowledged and the streams have ended', () => {
    const budget = bounded()
    const { streams } = tunnelOf(budget, 'alice')
    const idle = budget.used
    const target = Buffer.alloc(1200)
    const stream = streams.open(Buffer.alloc(1))
    streams.allowed(stream.id, Number.MAX_SAFE_INTEGER)
    stream.write(Buffer.alloc(4 * MEBIBYTE))
    stream.end()
    assert.ok(held(budget, 'alice') > 1)
    while (streams.waiting) {
      const deliveries: StreamDelivery[] = []
      streams.write(new FrameWriter(target, 0, target.length), deliveries as never)
      for (const delivery of deliveries) delivery.acked()
    }
    streams.arrived(stream.id, 0, Buffer.alloc(0), true, 0)
    assert.equal(streams.size, 0)
    assert.deepEqual(budget.used, idle)
  })
})
