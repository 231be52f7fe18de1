import type { FrameWriter } from '../../src/wormhole/tunnel/frame.js'
import { rangeIn, rangesOf, TunnelAdversary } from './tunnel-adversary.js'

/** A datagram that is meant to cost much, and what comes before it. */
export interface Costly {
  readonly name: string
  /** Brings a fresh victim to where the datagram hurts most. @returns the frames of the datagram */
  prepare(): { readonly adversary: TunnelAdversary; readonly frames: (writer: FrameWriter) => void }
  /** More may go out, as it is the peer's own data that was asked for. */
  readonly brings?: 'data'
}

const HEADER = Buffer.from([0, 1, 120])
const MIB = 2 ** 20

/** As many frames as fit, or as there are: until nothing is written. */
function fill(writer: FrameWriter, room: number, write: (index: number) => void): void {
  let before = -1
  for (let index = 0; writer.left >= room && writer.at > before; index++) {
    before = writer.at
    write(index)
  }
}

function piece(writer: FrameWriter, id: number, offset: number, data: Uint8Array, fin = false): void {
  writer.stream(id, offset, data.length, fin)
  writer.target.set(data, writer.at)
  writer.at += data.length
}

/** Single bytes of the stream 0, from the one offset up to or down to, without, the other, so many apart. */
function scatter(adversary: TunnelAdversary, from: number, to: number, step: number): void {
  const within = (at: number) => (step > 0 ? at < to : at > to)
  for (let at = from; within(at); )
    adversary.say((writer) =>
      fill(writer, 10, () => {
        if (within(at)) piece(writer, 0, at, ONE)
        at += step
      }),
    )
}

/** A victim with a stream that is open, whose number is 0. */
function opened(behaviour?: 'reads' | 'sleeps'): TunnelAdversary {
  const adversary = new TunnelAdversary(behaviour ? { behaviour } : {})
  adversary.say((writer) => piece(writer, 0, 0, HEADER))
  return adversary
}

/** A victim that has about a megabyte under way, of which its peer has acknowledged nothing, and much more to send. */
function sending(): TunnelAdversary {
  const adversary = new TunnelAdversary()
  const streams = Array.from({ length: 4 }, () => adversary.victim.streams.open(Buffer.from('x')))
  const data = Buffer.alloc(MIB)
  for (let count = 0; count < 64; count++) for (const stream of streams) stream.write(data)
  adversary.say((writer) => {
    for (const { id } of streams) writer.window(id, 2 ** 40)
  })
  // it has to believe in a wide path: everything is acknowledged until so much is under way
  for (let round = 0; round < 60; round++) {
    adversary.pass(5)
    if (adversary.victim.figures.congestion.inflight > MIB) return adversary
    adversary.acknowledge(adversary.got.slice(-2_000))
  }
  throw new Error('It never sent so much.')
}

/** What is under way of the victim's, as numbers. */
const underWay = (adversary: TunnelAdversary, most: number) => adversary.got.slice(-most)

const ONE = Buffer.of(7)
const NONE = Buffer.alloc(0)

export const CORPUS: readonly Costly[] = [
  {
    name: 'a stream with a high number',
    prepare: () => {
      const adversary = new TunnelAdversary()
      return { adversary, frames: (writer) => piece(writer, 2 * 8_191, 0, HEADER) }
    },
  },
  {
    name: 'the ends of streams that were never begun',
    prepare: () => {
      const adversary = new TunnelAdversary({ behaviour: 'reads' })
      return { adversary, frames: (writer) => fill(writer, 8, (n) => piece(writer, 2 * n, 0, NONE, true)) }
    },
  },
  {
    name: 'streams that are opened and ended',
    prepare: () => {
      const adversary = new TunnelAdversary({ behaviour: 'reads' })
      return { adversary, frames: (writer) => fill(writer, 12, (n) => piece(writer, 2 * n, 0, HEADER, true)) }
    },
  },
  {
    name: 'more streams than there may be',
    prepare: () => {
      const adversary = new TunnelAdversary()
      for (let id = 0; id < 2 * 4_096; ) {
        adversary.say((writer) =>
          fill(writer, 12, () => {
            if (id < 2 * 4_096) piece(writer, id, 0, HEADER)
            id += 2
          }),
        )
        adversary.acknowledge(adversary.got.slice(-50))
      }
      return {
        adversary,
        frames: (writer) => fill(writer, 8, (n) => piece(writer, 8_192 + 2 * n, 0, NONE)),
      }
    },
  },
  {
    name: 'resets of streams that were never opened',
    prepare: () => {
      const adversary = new TunnelAdversary()
      return { adversary, frames: (writer) => fill(writer, 8, (n) => writer.reset(2 * n, 0, NONE)) }
    },
  },
  {
    name: 'windows of streams that were never opened',
    prepare: () => {
      const adversary = new TunnelAdversary()
      return { adversary, frames: (writer) => fill(writer, 8, (n) => writer.window(4 * n, 1)) }
    },
  },
  {
    name: 'single bytes behind thousands of gaps',
    prepare: () => {
      const adversary = opened()
      scatter(adversary, 32_700, 300, -2)
      return { adversary, frames: (writer) => fill(writer, 10, (n) => piece(writer, 0, 200 + 2 * n, ONE)) }
    },
  },
  {
    name: 'a piece over thousands of pieces',
    prepare: () => {
      const adversary = opened()
      scatter(adversary, 10, 32_700, 2)
      return { adversary, frames: (writer) => piece(writer, 0, 5, Buffer.alloc(1_900)) }
    },
  },
  {
    name: 'the byte that everything waited for',
    prepare: () => {
      const adversary = opened()
      scatter(adversary, 4, 32_700, 1)
      return { adversary, frames: (writer) => piece(writer, 0, 3, ONE) }
    },
  },
  {
    name: 'the byte that three megabytes waited for',
    prepare: () => {
      const adversary = opened('reads')
      const [stream] = adversary.streams
      if (!stream) throw new Error('It was never told of the stream.')
      const { receive } = stream
      const data = Buffer.alloc(1_900)
      const fillFrom = (start: number) => {
        const { limit } = receive // which moves as it is read
        for (let at = start; at < limit; at += data.length)
          adversary.pour((writer) => piece(writer, 0, at, data.subarray(0, limit - at)))
        adversary.acknowledge(adversary.got.slice(-50))
      }
      for (let round = 0; receive.limit - receive.next < 2.9 * MIB; round++) {
        if (round === 50) throw new Error('Its window never opened so far.')
        fillFrom(receive.next)
      }
      fillFrom(receive.next + 1)
      const { next } = receive
      return { adversary, frames: (writer) => piece(writer, 0, next, ONE) }
    },
  },
  {
    name: 'ends of a stream behind thousands of gaps',
    prepare: () => {
      const adversary = opened()
      scatter(adversary, 10, 32_700, 2)
      return { adversary, frames: (writer) => fill(writer, 10, () => piece(writer, 0, 32_760, NONE, true)) }
    },
  },
  {
    name: 'acknowledgements, one after the other, of nothing new',
    prepare: () => {
      const adversary = sending()
      const [first = 0] = adversary.got
      return { adversary, frames: (writer) => fill(writer, 12, () => writer.ack(1, () => [first, first], 0)) }
    },
    brings: 'data',
  },
  {
    name: 'acknowledgements of the newest packet alone, one after the other',
    prepare: () => {
      const adversary = sending()
      const newest = underWay(adversary, 150)
      return {
        adversary,
        frames: (writer) =>
          fill(writer, 12, (n) => {
            const number = newest[n % newest.length] as number
            writer.ack(1, () => [number, number], 0)
          }),
      }
    },
    brings: 'data',
  },
  {
    name: 'an acknowledgement of everything under way',
    prepare: () => {
      const adversary = sending()
      const ranges = rangesOf(adversary.got).slice(0, 64)
      return { adversary, frames: (writer) => writer.ack(ranges.length, rangeIn(ranges), 0) }
    },
    brings: 'data',
  },
  {
    name: 'an acknowledgement of every other packet',
    prepare: () => {
      const adversary = sending()
      const ranges = rangesOf(underWay(adversary, 128).filter((_, index) => index % 2 === 0)).slice(0, 64)
      return { adversary, frames: (writer) => writer.ack(ranges.length, rangeIn(ranges), 0) }
    },
    brings: 'data',
  },
  {
    name: 'flows that are opened',
    prepare: () => {
      const adversary = new TunnelAdversary()
      return { adversary, frames: (writer) => fill(writer, 8, (n) => writer.flowOpen(2 * n, NONE)) }
    },
  },
  {
    name: 'more flows than there may be',
    prepare: () => {
      const adversary = new TunnelAdversary()
      for (let id = 0; id < 2 * 4_096; ) {
        adversary.say((writer) =>
          fill(writer, 8, () => {
            if (id < 2 * 4_096) writer.flowOpen(id, NONE)
            id += 2
          }),
        )
        adversary.acknowledge(adversary.got.slice(-50))
      }
      return { adversary, frames: (writer) => fill(writer, 8, (n) => writer.flowOpen(8_192 + 2 * n, NONE)) }
    },
  },
  {
    name: 'ends of flows that were never opened, far apart',
    prepare: () => {
      const adversary = new TunnelAdversary()
      for (let n = 0; n < 4_000; n += 200)
        adversary.say((writer) => fill(writer, 8, (m) => writer.flowClose(8 * (n + m))))
      return { adversary, frames: (writer) => fill(writer, 8, (n) => writer.flowClose(8 * n + 4)) }
    },
  },
  {
    name: 'datagrams of a flow with nothing in them',
    prepare: () => {
      const adversary = new TunnelAdversary()
      adversary.say((writer) => writer.flowOpen(0, NONE))
      return { adversary, frames: (writer) => fill(writer, 8, () => writer.flowData(0, NONE)) }
    },
  },
  {
    name: 'nothing but pings',
    prepare: () => {
      const adversary = new TunnelAdversary()
      return { adversary, frames: (writer) => fill(writer, 1, () => writer.ping()) }
    },
  },
  {
    name: 'challenges',
    prepare: () => {
      const adversary = new TunnelAdversary()
      return { adversary, frames: (writer) => fill(writer, 9, (n) => writer.challenge(Buffer.alloc(8, n))) }
    },
  },
  {
    name: 'windows of one stream',
    prepare: () => {
      const adversary = opened()
      return { adversary, frames: (writer) => fill(writer, 16, (n) => writer.window(0, 40_000 + n)) }
    },
  },
  {
    name: 'bytes of many streams that are read at once',
    prepare: () => {
      const adversary = new TunnelAdversary({ behaviour: 'reads' })
      for (let id = 0; id < 2_000; )
        adversary.say((writer) =>
          fill(writer, 12, () => {
            if (id < 2_000) piece(writer, id, 0, HEADER)
            id += 2
          }),
        )
      return { adversary, frames: (writer) => fill(writer, 12, (n) => piece(writer, 2 * n, 3, ONE)) }
    },
  },
  {
    name: 'a number far ahead',
    prepare: () => {
      const adversary = opened()
      adversary.packet += 16_000
      return { adversary, frames: (writer) => writer.ping() }
    },
  },
  {
    name: 'a packet after many gaps',
    prepare: () => {
      const adversary = opened()
      for (let gap = 0; gap < 70; gap++) {
        adversary.packet += 150
        adversary.say((writer) => writer.ping())
      }
      return { adversary, frames: (writer) => writer.ping() }
    },
  },
  {
    name: 'the end of a tunnel with thousands of streams',
    prepare: () => {
      const adversary = new TunnelAdversary()
      for (let id = 0; id < 8_000; ) {
        adversary.say((writer) =>
          fill(writer, 12, () => {
            if (id < 8_000) piece(writer, id, 0, HEADER)
            id += 2
          }),
        )
      }
      return { adversary, frames: (writer) => writer.close(NONE) }
    },
  },
  {
    name: 'what breaks the protocol in a tunnel with thousands of streams',
    prepare: () => {
      const adversary = new TunnelAdversary()
      for (let id = 0; id < 8_000; ) {
        adversary.say((writer) =>
          fill(writer, 12, () => {
            if (id < 8_000) piece(writer, id, 0, HEADER)
            id += 2
          }),
        )
      }
      return { adversary, frames: (writer) => piece(writer, 1_001, 0, NONE) }
    },
  },
]
