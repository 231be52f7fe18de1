import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GENERATION, HEADER_LENGTH, Opener, OVERHEAD, Sealer } from '../../src/wormhole/tunnel/cipher.js'
import { ControlQueue } from '../../src/wormhole/tunnel/control.js'
import { type FlowEvent, Flows } from '../../src/wormhole/tunnel/flows.js'
import { FrameWriter, fitSentence, parseFrames } from '../../src/wormhole/tunnel/frame.js'
import { Greeter } from '../../src/wormhole/tunnel/greeting.js'
import { PathMtu } from '../../src/wormhole/tunnel/path-mtu.js'
import { RangeSet } from '../../src/wormhole/tunnel/ranges.js'
import { MAX_PIECES } from '../../src/wormhole/tunnel/reassembly.js'
import { ReceiveHalf, StreamViolation, WINDOW_BUDGET } from '../../src/wormhole/tunnel/receive-half.js'
import { Received } from '../../src/wormhole/tunnel/received.js'
import { type Piece, SendHalf } from '../../src/wormhole/tunnel/send-half.js'
import { Reader, varintLength, writeVarint } from '../../src/wormhole/tunnel/varint.js'
import { Prng } from '../simulation/prng.js'

test('a set of ranges is the set of its numbers, whatever is added and removed', () => {
  const prng = new Prng(1)
  for (let run = 0; run < 300; run++) {
    const ranges = new RangeSet()
    const numbers = new Set<number>()
    for (let step = 0; step < 40; step++) {
      const start = prng.integer(0, 60)
      const end = start + prng.integer(0, 15)
      if (prng.chance(0.6)) {
        ranges.add(start, end)
        for (let number = start; number < end; number++) numbers.add(number)
      } else {
        ranges.remove(start, end)
        for (let number = start; number < end; number++) numbers.delete(number)
      }
    }
    for (let number = 0; number < 80; number++) assert.equal(ranges.has(number), numbers.has(number))
    let before = -1
    for (let index = 0; index < ranges.size; index++) {
      assert.ok(
        ranges.start(index) > before && ranges.end(index) > ranges.start(index),
        'sorted, apart, not empty',
      )
      before = ranges.end(index)
    }
  }
})

test('what is written into a stream comes out of it, through any losses and late acknowledgements', () => {
  const prng = new Prng(2)
  for (let run = 0; run < 100; run++) {
    const data = prng.bytes(prng.integer(0, 20_000))
    const send = new SendHalf(64 * 1024)
    const receive = new ReceiveHalf({ left: WINDOW_BUDGET, pieces: MAX_PIECES })
    for (let at = 0; at < data.length; ) {
      const length = prng.integer(1, 3_000)
      send.write(data.subarray(at, at + length))
      at += length
    }
    send.end()
    const flying: Piece[] = []
    const got: Buffer[] = []
    for (let step = 0; !send.done && step < 100_000; step++) {
      const piece = send.ready && prng.chance(0.6) ? send.take(prng.integer(1, 1_200)) : undefined
      if (piece) {
        const bytes = Buffer.alloc(piece.length)
        send.copy(piece, bytes, 0)
        if (prng.chance(0.8)) receive.receive(piece.offset, bytes, piece.fin)
        else send.lose(piece)
        flying.push(piece)
        continue
      }
      const [other] = flying.splice(prng.integer(0, flying.length - 1), 1)
      // one that was thought lost may be acknowledged later, and one that came may be thought lost
      if (other && prng.chance(0.3)) send.lose(other)
      else if (other && arrived(receive, other)) send.acked(other)
      else if (other) send.lose(other)
      if (prng.chance(0.3)) receive.settle()
      for (let piece = receive.read(); piece; piece = receive.read()) got.push(piece)
    }
    assert.ok(send.done)
    for (let piece = receive.read(); piece; piece = receive.read()) got.push(piece)
    assert.ok(receive.done)
    assert.ok(Buffer.concat(got).equals(data))
  }
})

/** Whether a piece is there, by what a second copy of it does: nothing, or everything. */
function arrived(receive: ReceiveHalf, piece: Piece): boolean {
  return receive.complete || receive.next >= piece.offset + piece.length + (piece.fin ? 1 : 0)
}

test('a stream takes overlapping pieces in any order, and no more than its window or its end', () => {
  const prng = new Prng(3)
  const data = prng.bytes(5_000)
  for (let run = 0; run < 200; run++) {
    const receive = new ReceiveHalf({ left: 0, pieces: MAX_PIECES })
    const got: Buffer[] = []
    while (!receive.complete) {
      const start = prng.integer(0, data.length)
      const end = Math.min(data.length, start + prng.integer(0, 900))
      receive.receive(start, data.subarray(start, end), end === data.length)
      if (prng.chance(0.2)) for (let piece = receive.read(); piece; piece = receive.read()) got.push(piece)
    }
    for (let piece = receive.read(); piece; piece = receive.read()) got.push(piece)
    assert.ok(Buffer.concat(got).equals(data))
    assert.throws(() => receive.receive(data.length, Buffer.alloc(1), false), StreamViolation)
    assert.throws(() => receive.receive(0, Buffer.alloc(1), true), StreamViolation)
  }
  const fresh = new ReceiveHalf({ left: 0, pieces: MAX_PIECES })
  assert.throws(() => fresh.receive(fresh.limit, Buffer.alloc(1), false), StreamViolation)
})

test('bytes that mean nothing are no frames, and crash nothing', () => {
  const prng = new Prng(4)
  for (let run = 0; run < 20_000; run++) {
    const data = prng.bytes(prng.integer(0, 60))
    if (data.length > 0) data[0] = prng.integer(0, 0x12)
    for (const frame of parseFrames(data) ?? []) assert.ok(frame.type.length > 0)
  }
})

test('every frame is read as it was written', () => {
  const target = Buffer.alloc(1_400)
  const writer = new FrameWriter(target, 0, 1_400)
  const big = 2 ** 52 + 12_345
  writer.ping()
  const ranges = [
    [big, big - 3],
    [big - 10, big - 10],
    [70, 7],
    [5, 0],
  ] as const
  writer.ack(ranges.length, (index) => ranges[index] ?? assert.fail(), 3.25)
  writer.challenge(Buffer.alloc(8, 1))
  writer.response(Buffer.alloc(8, 2))
  writer.reset(16_383, 3, fitSentence('Niemand hört zu.'))
  writer.window(big, big)
  writer.flowOpen(3, Buffer.from('header'))
  writer.flowData(3, Buffer.from('data'))
  writer.flowClose(3)
  writer.stream(64, big, 4, true)
  writer.at += target.write('tail', writer.at)
  writer.close(fitSentence('ä'.repeat(200)))
  writer.pad()
  assert.deepEqual(parseFrames(target), [
    { type: 'ping' },
    { type: 'ack', delay: 3.25, ranges },
    { type: 'challenge', value: Buffer.alloc(8, 1) },
    { type: 'response', value: Buffer.alloc(8, 2) },
    { type: 'reset', id: 16_383, code: 3, sentence: 'Niemand hört zu.' },
    { type: 'window', id: big, limit: big },
    { type: 'flow-open', id: 3, header: Buffer.from('header') },
    { type: 'flow-data', id: 3, data: Buffer.from('data') },
    { type: 'flow-close', id: 3 },
    { type: 'stream', id: 64, offset: big, data: Buffer.from('tail'), fin: true },
    { type: 'close', sentence: 'ä'.repeat(127) },
  ])
})

test('integers of every length are read as written', () => {
  const target = Buffer.alloc(8)
  for (const value of [0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2 ** 32, 2 ** 53 - 1]) {
    assert.equal(writeVarint(target, 0, value), varintLength(value))
    const reader = new Reader(target.subarray(0, varintLength(value)))
    assert.equal(reader.varint(), value)
    assert.equal(reader.left, 0)
    const cut = new Reader(target.subarray(0, varintLength(value) - 1))
    cut.varint()
    assert.ok(cut.bad)
  }
})

function sealed(sealer: Sealer, packet: number, text: string): Buffer {
  const datagram = Buffer.alloc(OVERHEAD + text.length)
  datagram.write(text, HEADER_LENGTH)
  sealer.seal(datagram, packet)
  return datagram
}

test('keys of one generation follow from those before, and only the neighbours of the present one open', () => {
  const sealer = new Sealer(Buffer.alloc(32, 1))
  const opener = new Opener(Buffer.alloc(32, 1))
  const first = sealed(sealer, 1, 'first')
  const late = sealed(sealer, GENERATION - 1, 'late')
  const next = sealed(sealer, GENERATION, 'next')
  const third = sealed(sealer, 2 * GENERATION + 5, 'third')
  const open = (datagram: Buffer) =>
    opener.open(Buffer.from(datagram), Opener.packetOf(datagram) ?? -1)?.toString()
  assert.equal(open(first), 'first')
  assert.equal(open(third), undefined, 'two generations ahead is too far')
  assert.equal(open(next), 'next')
  assert.equal(open(late), 'late', 'what is late still opens')
  assert.equal(open(third), 'third')
  assert.equal(open(first), undefined, 'the keys of two generations ago are gone')
})

test('a forged packet number of the next generation changes nothing', () => {
  const sealer = new Sealer(Buffer.alloc(32, 1))
  const opener = new Opener(Buffer.alloc(32, 1))
  const forged = Buffer.alloc(100)
  forged[0] = 0x80
  forged.writeUIntBE(GENERATION + 7, 1, 6)
  assert.equal(opener.open(forged, GENERATION + 7), undefined)
  assert.equal(opener.open(sealed(sealer, 3, 'still here'), 3)?.toString(), 'still here')
  assert.equal(opener.failures, 1)
})

test('a packet counts once, and one that is too old counts as seen', () => {
  const prng = new Prng(5)
  const received = new Received()
  const seen = new Set<number>()
  for (let step = 0; step < 50_000; step++) {
    const packet = Math.max(0, received.highest + prng.integer(-17_000, 30))
    const expected = seen.has(packet) || packet <= received.highest - 16_384
    assert.equal(received.seen(packet), expected)
    if (!expected) received.add(packet, true, 0)
    seen.add(packet)
  }
  received.add(received.highest + 2 ** 24, true, 0)
  assert.ok(received.rangeCount <= 64)
  assert.ok(!received.seen(received.highest - 1))
})

test('a greeting opens for the other side alone, under the same key', () => {
  const random = new Prng(6).bytes
  const initiator = new Greeter({ initiator: true, key: Buffer.alloc(32, 1), random })
  const responder = new Greeter({ initiator: false, key: Buffer.alloc(32, 1), random })
  const stranger = new Greeter({ initiator: false, key: Buffer.alloc(32, 2), random })
  const { datagram } = initiator.hello(Buffer.alloc(32, 9))
  assert.equal(responder.open(datagram)?.type, 'hello')
  assert.equal(initiator.open(datagram), undefined, 'thrown back at its sender it is noise')
  assert.equal(stranger.open(datagram), undefined)
  assert.equal(initiator.open(responder.knock(Buffer.alloc(32, 8)))?.type, 'knock')
  const again = initiator.hello(Buffer.alloc(32, 9)).datagram
  assert.notDeepEqual(again.subarray(1, 24), datagram.subarray(1, 24), 'nothing of it is to be recognised')
})

test('pieces behind gaps are bounded over all streams, refused beyond, and given back', () => {
  const budget = { left: 0, pieces: 200 }
  const [one, other] = [new ReceiveHalf(budget), new ReceiveHalf(budget)]
  const byte = Buffer.alloc(1)
  let kept = 0
  for (let piece = 1; piece <= 60; piece++) if (one.receive(2 * piece, byte, false)) kept++
  for (let piece = 1; piece <= 100; piece++) if (other.receive(2 * piece, byte, false)) kept++
  assert.ok(kept < 160 && budget.pieces === 0)
  assert.equal(other.receive(1000, byte, true), false)
  assert.equal(other.receive(3, byte, false), true, 'what fills a gap costs nothing')
  other.discard()
  one.receive(0, Buffer.alloc(120), false)
  assert.equal(one.readable, 121)
  assert.equal(budget.pieces, 200)
})

test('a stream takes single bytes in any order, beyond 1,024 ranges none that makes another', () => {
  const prng = new Prng(12)
  const data = prng.bytes(30_000)
  const receive = new ReceiveHalf({ left: 0, pieces: MAX_PIECES })
  const waiting = Array.from(data, (_, index) => index)
  for (let index = waiting.length - 1; index > 0; index--) {
    const other = prng.integer(0, index)
    const value = waiting[index] as number
    waiting[index] = waiting[other] as number
    waiting[other] = value
  }
  const got: Buffer[] = []
  let refused = 0
  // what is refused comes again, as a peer sends it
  for (let at = 0; at < waiting.length; at++) {
    const offset = waiting[at] as number
    if (receive.receive(offset, data.subarray(offset, offset + 1), offset === data.length - 1)) continue
    refused++
    waiting.push(offset)
    if (prng.chance(0.01)) for (let piece = receive.read(); piece; piece = receive.read()) got.push(piece)
  }
  for (let piece = receive.read(); piece; piece = receive.read()) got.push(piece)
  assert.ok(refused > 0)
  assert.ok(Buffer.concat(got).equals(data))
  assert.ok(receive.done)
})

test('a gap that is filled gives what it held back, over many pages, however that was cut', () => {
  const prng = new Prng(13)
  for (let run = 0; run < 20; run++) {
    const budget = { left: WINDOW_BUDGET, pieces: MAX_PIECES }
    const receive = new ReceiveHalf(budget)
    const got: Buffer[] = []
    const read = () => {
      for (let piece = receive.read(); piece; piece = receive.read()) got.push(piece)
    }
    const data = prng.bytes(400_000)
    let now = 0
    while (!receive.done) {
      // the window is what the peer goes by: pieces from its far end on
      for (let at = receive.limit; at > receive.next + 1; ) {
        const end = Math.min(at, data.length)
        const start = Math.max(receive.next + 1, end - prng.integer(1, 4_000))
        if (start < end) assert.ok(receive.receive(start, data.subarray(start, end), end === data.length))
        at = Math.min(start, end)
      }
      const { next } = receive
      receive.receive(next, data.subarray(next, next + 1), next + 1 === data.length)
      read()
      now += 1
      receive.grant(now, 1)
    }
    assert.ok(Buffer.concat(got).equals(data))
    receive.discard()
    assert.deepEqual(budget, { left: WINDOW_BUDGET, pieces: MAX_PIECES })
  }
})

test('a flow of this side that both ended takes no number of the peer, and the peer opens none of them', () => {
  for (const initiator of [true, false]) {
    const events: FlowEvent[] = []
    const flows = new Flows(initiator, new ControlQueue(), new PathMtu(), (event) => events.push(event))
    const own = flows.open(Buffer.from('a service'))
    flows.close(own)
    flows.closed(own.id)
    events.length = 0
    for (const id of initiator ? [1, 3] : [0, 2]) flows.opened(id, Buffer.from('a service'))
    assert.deepEqual(
      events.map(({ name }) => name),
      ['flow', 'flow'],
    )
    assert.throws(() => flows.opened(own.id, Buffer.from('a service')), StreamViolation)
  }
})

test('flows far apart are remembered in bounded room, and none opens twice', () => {
  const opened: number[] = []
  const flows = new Flows(true, new ControlQueue(), new PathMtu(), (event) => {
    if (event.name === 'flow') opened.push(event.flow.id)
  })
  const ids = Array.from({ length: 3000 }, (_, index) => 1 + 10 * index)
  for (const id of ids) {
    flows.opened(id, Buffer.alloc(0))
    flows.closed(id)
  }
  assert.deepEqual(opened, ids)
  for (const id of ids) flows.opened(id, Buffer.alloc(0))
  assert.equal(opened.length, ids.length)
  flows.opened(3, Buffer.alloc(0))
  assert.equal(opened.length, ids.length, 'what is missing far below comes no more')
  flows.opened(1 + 10 * 2999 - 2, Buffer.alloc(0))
  assert.equal(opened.length, ids.length + 1)
})
