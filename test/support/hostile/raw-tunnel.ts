import type { Endpoint, UdpPort } from '../../../src/net/index.js'
import { systemClock, systemRandom } from '../../../src/system/index.js'
import { encodeHeader } from '../../../src/wormhole/header.js'
import { HEADER_LENGTH, type Sealer, TAG_LENGTH } from '../../../src/wormhole/tunnel/cipher.js'
import { FrameWriter, MAX_ACK_RANGES } from '../../../src/wormhole/tunnel/frame.js'
import { Greeter } from '../../../src/wormhole/tunnel/greeting.js'
import { Handshake } from '../../../src/wormhole/tunnel/handshake.js'
import { RangeSet } from '../../../src/wormhole/tunnel/ranges.js'

/** The largest datagram that it makes, in bytes. */
const SIZE = 1400

/** An authentic peer that speaks frames of its own making over a real port. It acknowledges all that comes, and reads nothing of it. */
export class RawTunnel {
  readonly #port: UdpPort
  readonly #to: Endpoint
  readonly #sealer: Sealer
  readonly #got = new RangeSet()
  #packet = 0
  acknowledges = true

  private constructor(port: UdpPort, to: Endpoint, sealer: Sealer) {
    this.#port = port
    this.#to = to
    this.#sealer = sealer
    port.listen(({ data }) => {
      // the number stands in the open
      const number = data.readUIntBE(1, 6)
      if ((data[0] ?? 0) >> 6 === 2) this.#got.add(number, number + 1)
      while (this.#got.size > MAX_ACK_RANGES) this.#got.shift()
    })
  }

  /** Greets as the initiator. */
  static open(port: UdpPort, to: Endpoint, key: Buffer): Promise<RawTunnel> {
    const random = systemRandom
    const greeter = new Greeter({ initiator: true, key, random })
    const handshake = new Handshake({ initiator: true, random, remote: to }, greeter, systemClock.now())
    return new Promise((resolve) => {
      const speak = () => {
        handshake.tick(systemClock.now())
        for (const { data } of handshake.transmits()) port.send(data, to)
      }
      const interval = setInterval(speak, 50)
      const stop = port.listen(({ data, from }) => {
        const outcome = handshake.receive(systemClock.now(), data, from)
        if (outcome.name !== 'done') return
        clearInterval(interval)
        stop()
        if (outcome.confirmation) port.send(outcome.confirmation(), to)
        resolve(new RawTunnel(port, to, outcome.keys.sealer))
      })
      speak()
    })
  }

  /** A datagram of these frames. @param size of the datagram at most, in bytes */
  say(write: (writer: FrameWriter) => void, size = SIZE): void {
    const datagram = Buffer.alloc(size)
    const writer = new FrameWriter(datagram, HEADER_LENGTH, size - TAG_LENGTH)
    const { size: count } = this.#got
    const range = (index: number): [number, number] => {
      const place = count - 1 - index
      return [this.#got.end(place) - 1, this.#got.start(place)]
    }
    if (count > 0 && this.acknowledges) writer.ack(Math.min(count, 8), range, 0)
    write(writer)
    const whole = datagram.subarray(0, Math.max(48, writer.at + TAG_LENGTH))
    this.#sealer.seal(whole, this.#packet++)
    this.#port.send(whole, this.#to)
  }
}

/** What a stream may hold at first, in bytes. */
const WINDOW = 32 * 1024

/** What it may send in a flood: each call gives a datagram of some kind. */
export type Flood = (tunnel: RawTunnel) => void

function fill(writer: FrameWriter, room: number, write: () => void): void {
  while (writer.left >= room) write()
}

/** Every flood there is, by name. */
export function floods(): ReadonlyMap<string, () => Flood> {
  const counted = (write: (writer: FrameWriter, id: number) => void, room: number) => () => {
    let id = 0
    return (tunnel: RawTunnel) =>
      tunnel.say((writer) =>
        fill(writer, room, () => {
          write(writer, id)
          id += 2
        }),
      )
  }
  const streamHeader = encodeHeader({ carries: 'stream', name: 'echo' })
  const opening = Buffer.concat([Buffer.of(0, streamHeader.length), streamHeader])
  const flowHeader = encodeHeader({ carries: 'datagrams', name: 'udp' })
  /** Every other byte of a stream, and then its end, over and over. */
  const pieces = () => {
    let at = WINDOW - 2
    return (tunnel: RawTunnel) =>
      tunnel.say((writer) => {
        const piece = (offset: number, length: number, fin: boolean) => {
          writer.stream(0, offset, length, fin)
          writer.at += length
        }
        fill(writer, 12, () => {
          if (at <= opening.length) return piece(WINDOW, 0, true)
          piece(at, 1, false)
          at -= 2
        })
      })
  }
  return new Map<string, () => Flood>([
    ['ends of a stream in pieces', pieces],
    ['ends of streams', counted((writer, id) => writer.stream(id, 0, 0, true), 12)],
    [
      'streams opened and ended',
      counted((writer, id) => {
        writer.stream(id, 0, opening.length, true)
        opening.copy(writer.target, writer.at)
        writer.at += opening.length
      }, opening.length + 12),
    ],
    ['streams reset', counted((writer, id) => writer.reset(id, 0, Buffer.alloc(0)), 12)],
    ['flows opened', counted((writer, id) => writer.flowOpen(id, flowHeader), flowHeader.length + 12)],
    ['pings', () => (tunnel) => tunnel.say((writer) => fill(writer, 1, () => writer.ping()))],
    ['small datagrams', () => (tunnel) => tunnel.say((writer) => writer.ping(), 48)],
    [
      'challenges',
      () => (tunnel) => tunnel.say((writer) => fill(writer, 9, () => writer.challenge(Buffer.alloc(8)))),
    ],
  ])
}
