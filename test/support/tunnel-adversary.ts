import assert from 'node:assert/strict'
import { HEADER_LENGTH, Opener, type Sealer, TAG_LENGTH } from '../../src/wormhole/tunnel/cipher.js'
import { Connection } from '../../src/wormhole/tunnel/connection.js'
import type { ConnectionEvent } from '../../src/wormhole/tunnel/connection-state.js'
import { FrameWriter } from '../../src/wormhole/tunnel/frame.js'
import { Greeter } from '../../src/wormhole/tunnel/greeting.js'
import { Handshake } from '../../src/wormhole/tunnel/handshake.js'
import type { CoreStream } from '../../src/wormhole/tunnel/stream.js'
import { Prng } from '../simulation/prng.js'
import { ADDRESS, KEY } from '../simulation/tunnel.js'

/** The largest datagram that a tunnel takes in, in bytes. */
export const LARGEST = 2048

/** What the victim's program does with streams that are opened: nothing, or read them and end them. */
export type Behaviour = 'sleeps' | 'reads'

/** What one datagram brought about at the other side. */
export interface Cost {
  /** Of the victim's thread, in ms, until it has sent what it had to say. */
  readonly ms: number
  /** The same without what it sent. */
  readonly receiving: number
  /** Bytes that it sent, up to its first time-out. */
  readonly out: number
  /** Bytes of the datagram. */
  readonly bytes: number
}

/** So long after a datagram everything that it asked for has been answered, in ms: an acknowledgement may wait for 5. */
const ANSWERED = 6

/**
 * An authentic peer of a tunnel that says whatever it likes: it has the keys, and every frame is its own making. The other
 * side is a real `Connection`, driven as its driver does, in virtual time.
 */
export class TunnelAdversary {
  readonly victim: Connection
  readonly prng: Prng
  now = 0
  /** Numbers of the victim's packets that came. */
  readonly got: number[] = []
  /** Streams that the victim was told of and that are open. */
  readonly streams = new Set<CoreStream>()
  packet = 0
  #out = 0
  readonly #sealer: Sealer
  readonly #behaviour: Behaviour

  /** @param options `revision`: what the adversary says that it knows */
  constructor(options: { seed?: number; behaviour?: Behaviour; revision?: number } = {}) {
    const { seed = 1, behaviour = 'sleeps', revision } = options
    this.prng = new Prng(seed)
    this.#behaviour = behaviour
    const { bytes: random } = this.prng
    const old = revision === undefined ? {} : { revision }
    const victim = new Connection({ initiator: false, key: KEY, remote: ADDRESS.a, random }, 0)
    this.victim = victim
    const greeter = new Greeter({ initiator: true, key: KEY, random, ...old })
    const handshake = new Handshake({ initiator: true, random, remote: ADDRESS.b, ...old }, greeter, 0)
    handshake.tick(0)
    for (const { data } of handshake.transmits()) victim.receive(0, data, ADDRESS.a)
    const answers: Buffer[] = []
    victim.transmit(0, (data) => answers.push(Buffer.from(data)))
    const outcome = answers
      .map((data) => handshake.receive(0, data, ADDRESS.b))
      .find(({ name }) => name === 'done')
    assert.ok(outcome?.name === 'done')
    if (outcome.confirmation) victim.receive(0, outcome.confirmation(), ADDRESS.a)
    this.#sealer = outcome.keys.sealer
    this.say((writer) => writer.ping())
    this.pass(20)
    this.acknowledge()
    this.pass(20)
    assert.equal(victim.state, 'open')
  }

  /** A datagram of these frames, sealed. @param size at least 48 bytes */
  datagram(write: (writer: FrameWriter) => void, size = LARGEST): Buffer {
    const datagram = Buffer.alloc(size)
    const writer = new FrameWriter(datagram, HEADER_LENGTH, size - TAG_LENGTH)
    write(writer)
    const cut = datagram.subarray(0, Math.max(48, Math.min(size, writer.at + TAG_LENGTH)))
    this.#sealer.seal(cut, this.packet++)
    return cut
  }

  /** Gives a datagram to the victim, which answers at once and after a moment. */
  give(datagram: Buffer): Cost {
    const bytes = datagram.length
    const out = this.#out
    const began = performance.now()
    this.victim.receive(this.now, datagram, ADDRESS.a)
    const received = performance.now()
    this.#turn('first')
    const ms = performance.now() - began
    this.#report()
    this.pass(ANSWERED)
    return { ms, receiving: received - began, out: this.#out - out, bytes }
  }

  /** Gives a datagram of these frames, and another one may follow at once. */
  pour(write: (writer: FrameWriter) => void): void {
    this.victim.receive(this.now, this.datagram(write), ADDRESS.a)
    this.#turn()
  }

  /** Gives a datagram of these frames. */
  say(write: (writer: FrameWriter) => void, size?: number): Cost {
    return this.give(this.datagram(write, size))
  }

  /** Acknowledges all that came and was not lied about. */
  acknowledge(numbers: readonly number[] = this.got): void {
    const ranges = rangesOf(numbers)
    if (ranges.length > 0) this.say((writer) => writer.ack(ranges.length, rangeIn(ranges), 0))
  }

  /** Lets so much time pass, in ms. */
  pass(ms: number): void {
    const end = this.now + ms
    for (let at = this.victim.due(this.now).at; at <= end; at = this.victim.due(this.now).at) {
      this.now = Math.max(at, this.now + 0.1)
      this.#turn()
    }
    this.now = Math.max(this.now, end)
  }

  /** @param most of what a tunnel that is over has to tell: the rest comes in later turns, as with its driver */
  #turn(most: 'all' | 'first' = 'all'): void {
    const { victim, now } = this
    victim.tick(now)
    this.#report(most)
    const send = (data: Buffer) => {
      this.#out += data.length
      const number = Opener.packetOf(data)
      if (number !== undefined) this.got.push(number)
    }
    while (victim.transmit(now, send));
    this.#report(most)
  }

  #report(most: 'all' | 'first' = 'all'): void {
    for (let events = this.victim.events(); events.length > 0; events = this.victim.events()) {
      for (const event of events) this.#take(event)
      if (most === 'first' && this.victim.state !== 'open') return
    }
  }

  #take(event: ConnectionEvent): void {
    if (event.name === 'stream') this.streams.add(event.stream)
    if (event.name === 'reset') this.streams.delete(event.stream)
    if (this.#behaviour === 'sleeps' || (event.name !== 'stream' && event.name !== 'readable')) return
    const { stream } = event
    while (stream.read(this.now));
    if (!stream.atEnd) return
    stream.end()
    this.streams.delete(stream)
  }
}

/** Ranges of numbers, as an acknowledgement has them: descending, both ends included. */
export function rangesOf(numbers: readonly number[]): (readonly [number, number])[] {
  const sorted = [...new Set(numbers)].sort((a, b) => b - a)
  const ranges: [number, number][] = []
  for (const number of sorted) {
    const last = ranges.at(-1)
    if (last && last[1] === number + 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges
}

export const rangeIn = (ranges: readonly (readonly [number, number])[]) => (index: number) =>
  ranges[index] as readonly [number, number]
