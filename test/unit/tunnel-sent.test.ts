import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Congestion } from '../../src/wormhole/tunnel/congestion.js'
import { ControlQueue } from '../../src/wormhole/tunnel/control.js'
import { Fifo } from '../../src/wormhole/tunnel/fifo.js'
import { FrameWriter, parseFrames } from '../../src/wormhole/tunnel/frame.js'
import { Ledger } from '../../src/wormhole/tunnel/ledger.js'
import { INITIAL_WINDOW } from '../../src/wormhole/tunnel/receive-half.js'
import { RoundTrip } from '../../src/wormhole/tunnel/round-trip.js'
import {
  type Piece,
  RETAINED_BUDGET,
  RETAINED_MOST,
  type RetainedBudget,
  SendHalf,
} from '../../src/wormhole/tunnel/send-half.js'
import {
  type Delivery,
  MOST_UNDER_WAY,
  type SentPacket,
  SentPackets,
} from '../../src/wormhole/tunnel/sent-packets.js'
import { Streams } from '../../src/wormhole/tunnel/streams.js'
import { Prng } from '../simulation/prng.js'

const STATE = { delivered: 0, deliveredAt: 0, firstSentAt: 0, appLimited: true }

function packetOf(packet: number): SentPacket {
  const rest = { acknowledges: -1, probe: false, resent: false, place: 0 }
  return { packet, size: 1200, sentAt: packet, deliveries: [], state: STATE, ...rest }
}

const numbers = (all: readonly SentPacket[]) => all.map(({ packet }) => packet)

describe('the packets under way', () => {
  test('are those that were added and not settled, whatever is settled in whatever order', () => {
    const prng = new Prng(1)
    for (let run = 0; run < 60; run++) {
      const sent = new SentPackets()
      const model = new Map<number, SentPacket>()
      let next = 0
      for (let step = 0; step < 400; step++) {
        if (prng.chance(0.55)) {
          next += prng.chance(0.1) ? prng.integer(1, 40) : 1
          const packet = packetOf(next)
          sent.add(packet)
          model.set(next, packet)
        } else if (prng.chance(0.5)) {
          const low = prng.integer(0, next + 5)
          const high = low + prng.integer(0, prng.chance(0.1) ? 400 : 6)
          const settled: SentPacket[] = []
          sent.settleRange(low, high, settled)
          const expected = [...model.keys()].filter((number) => number >= low && number <= high)
          assert.deepEqual(numbers(settled), expected)
          for (const number of expected) model.delete(number)
        } else {
          const one = [...model.values()][prng.integer(0, Math.max(0, model.size - 1))]
          if (one) sent.settle(one)
          if (one) model.delete(one.packet)
        }
        const left: SentPacket[] = []
        for (let each = sent.oldest; each; each = sent.after(each)) left.push(each)
        assert.deepEqual(numbers(left), [...model.keys()])
        assert.equal(sent.empty, model.size === 0)
      }
    }
  })

  test('are bounded: the oldest is taken for lost where the peer never acknowledges it', () => {
    const ledger = new Ledger(new RoundTrip(), new Congestion(1200))
    for (let number = 0; number < MOST_UNDER_WAY + 10; number++) ledger.add(packetOf(number))
    assert.equal(ledger.lost, 10)
    assert.ok(ledger.full)
    ledger.acknowledge(40_000, [[MOST_UNDER_WAY, 20]], 0)
    assert.ok(!ledger.full)
  })

  test('cost an acknowledgement no more because many are under way', () => {
    const cost = (underWay: number) => {
      const sent = new SentPackets()
      for (let number = 0; number < underWay; number++) sent.add(packetOf(number))
      // one in the middle, then everything above the middle, so that long stretches are settled
      const settled: SentPacket[] = []
      sent.settleRange(underWay / 2, underWay - 2, settled)
      const began = process.hrtime.bigint()
      for (let count = 0; count < 20_000; count++) {
        sent.settleRange(underWay / 2 + (count % 50), underWay / 2 + (count % 50), settled)
      }
      return Number(process.hrtime.bigint() - began)
    }
    cost(64)
    const few = Math.min(...Array.from({ length: 7 }, () => cost(64)))
    const many = Math.min(...Array.from({ length: 7 }, () => cost(32_000)))
    // in a walk over them all it is 500 times as much
    assert.ok(many < 50 * few, `${many} ns for 32,000 under way, ${few} ns for 64`)
  })
})

test('what is first in is first out, however much waits', () => {
  const prng = new Prng(2)
  const fifo = new Fifo<number>()
  const model: number[] = []
  for (let step = 0; step < 20_000; step++) {
    if (prng.chance(step < 10_000 ? 0.6 : 0.4)) {
      fifo.push(step)
      model.push(step)
    } else {
      assert.equal(fifo.first, model[0])
      assert.equal(fifo.shift(), model.shift())
    }
    assert.equal(fifo.length, model.length)
  }
})

test('control frames go out in their order; those that nobody wants any more are left out', () => {
  const queue = new ControlQueue()
  for (let id = 0; id < 5_000; id++) {
    queue.add({ length: 10, write: (writer) => writer.flowClose(id), wanted: () => id % 3 !== 0 })
  }
  const target = Buffer.alloc(1_200)
  let written = 0
  while (!queue.empty) {
    const writer = new FrameWriter(target, 0, target.length)
    const before = written
    const deliveries: Delivery[] = []
    queue.write(writer, deliveries)
    written += deliveries.length
    assert.ok(written > before || queue.empty)
  }
  assert.equal(written, 3_333)
})

describe('what a stream sent', () => {
  /** Sends all that it may, and acknowledges everything but the first piece. */
  function feed(send: SendHalf, bytes: number): Piece | undefined {
    const block = Buffer.alloc(64 * 1024, 1)
    let first: Piece | undefined
    for (let written = 0; written < bytes; written += block.length) {
      send.write(block)
      for (let piece = send.ready ? send.take(1_200) : undefined; piece; ) {
        if (piece.offset === 0) first = piece
        else send.acked(piece)
        piece = send.ready ? send.take(1_200) : undefined
      }
    }
    return first
  }

  test('is kept up to a fixed amount, where the peer acknowledges everything but the first byte', () => {
    const budget: RetainedBudget = { left: RETAINED_BUDGET }
    const send = new SendHalf(Number.MAX_SAFE_INTEGER, budget)
    const first = feed(send, 3 * RETAINED_MOST) ?? assert.fail('nothing was sent')
    assert.ok(send.retained <= RETAINED_MOST, `${send.retained} bytes`)
    assert.ok(!send.ready && send.unsent > 0)
    send.acked(first)
    assert.equal(send.retained, 0)
    assert.equal(budget.left, RETAINED_BUDGET)
    assert.ok(send.ready, 'it goes on')
  })

  test('is bounded over all streams of a tunnel; what one leaves the others have', () => {
    const emitted: string[] = []
    const streams = new Streams(true, new ControlQueue(), new RoundTrip(), ({ name }) => emitted.push(name))
    const all = Array.from({ length: 40 }, () => {
      const stream = streams.open(Buffer.from('header'))
      stream.send.allow(Number.MAX_SAFE_INTEGER)
      return stream
    })
    const target = Buffer.alloc(1_200)
    const drain = () => {
      for (let rounds = 0; streams.waiting && rounds < 200_000; rounds++) {
        const deliveries: Delivery[] = []
        const writer = new FrameWriter(target, 0, target.length)
        streams.write(writer, deliveries)
        const frames = parseFrames(target.subarray(0, writer.at)) ?? []
        for (const [index, frame] of frames.entries()) {
          if (frame.type === 'stream' && frame.offset > 0) deliveries[index]?.acked(0)
        }
      }
    }
    for (const stream of all) {
      stream.write(Buffer.alloc(RETAINED_MOST, 1))
      drain()
    }
    const retained = all.reduce((sum, { send }) => sum + send.retained, 0)
    assert.ok(retained <= RETAINED_BUDGET + all.length * INITIAL_WINDOW, `${retained} bytes`)
    assert.ok(retained >= RETAINED_BUDGET)
    const before = all.map(({ send }) => send.retained)
    all[0]?.reset('STREAM_RESET', 'enough')
    drain()
    const gained = all
      .slice(1)
      .reduce((sum, { send }, index) => sum + send.retained - (before[index + 1] ?? 0), 0)
    assert.ok(gained >= RETAINED_MOST - INITIAL_WINDOW, `${gained} bytes`)
  })

  test('comes out as it was written, in pieces of any size', () => {
    const prng = new Prng(3)
    for (let run = 0; run < 50; run++) {
      const data = prng.bytes(prng.integer(1, 60_000))
      const send = new SendHalf(Number.MAX_SAFE_INTEGER)
      const out = Buffer.alloc(data.length)
      let copied = 0
      for (let at = 0; at < data.length; ) {
        const length = prng.integer(1, prng.chance(0.8) ? 40 : 9_000)
        send.write(data.subarray(at, at + length))
        at += length
        while (prng.chance(0.4)) {
          const piece = send.take(prng.integer(1, 1_300))
          if (!piece) break
          send.copy(piece, out, piece.offset)
          copied += piece.length
          if (prng.chance(0.7)) send.acked(piece)
        }
      }
      for (let piece = send.take(1_200); piece; piece = send.take(1_200)) {
        send.copy(piece, out, piece.offset)
        copied += piece.length
      }
      assert.equal(copied, data.length)
      assert.ok(out.equals(data))
    }
  })
})
