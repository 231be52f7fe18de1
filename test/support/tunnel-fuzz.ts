import type { FrameWriter } from '../../src/wormhole/tunnel/frame.js'
import { Prng } from '../simulation/prng.js'
import { rangeIn, rangesOf, TunnelAdversary } from './tunnel-adversary.js'

/** What one session of a fuzzer brought about. */
export interface Session {
  readonly seed: number
  readonly datagrams: number
  /** Bytes that went into the victim, and that came out of it. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** What each datagram cost the victim's thread, in ms. */
  readonly costs: readonly number[]
}

/** What the peer of the fuzzer remembers of a stream that it opened. */
interface Known {
  readonly id: number
  /** Everything below was sent. */
  next: number
}

type Move = (writer: FrameWriter) => void

const HEADER = Buffer.from([0, 1, 120])
const FILLER = Buffer.alloc(2_048, 7)

/** An authentic peer that does whatever the protocol lets it, and now and then what it does not. The same seed is the same peer. */
class FuzzingPeer {
  readonly adversary: TunnelAdversary
  readonly #prng: Prng
  readonly #streams: Known[] = []
  #nextStream = 0
  #nextFlow = 0

  constructor(seed: number) {
    this.#prng = new Prng(seed)
    this.adversary = new TunnelAdversary({ seed, behaviour: this.#prng.chance(0.7) ? 'reads' : 'sleeps' })
  }

  /** The frames of the next datagram: some different ones, or one kind as often as it fits. */
  next(): Move {
    const prng = this.#prng
    if (prng.chance(0.02)) this.adversary.packet += prng.integer(1, prng.chance(0.2) ? 20_000 : 100)
    const repeated = prng.chance(0.4) ? this.#pick() : undefined
    const moves = Array.from({ length: prng.integer(1, 6) }, () => this.#pick())
    return (writer) => {
      if (repeated) while (writer.left >= 40) repeated(writer)
      else for (const move of moves) if (writer.left >= 700) move(writer)
    }
  }

  #pick(): Move {
    const prng = this.#prng
    const kinds: readonly (readonly [weight: number, move: Move])[] = [
      [6, (writer) => this.#opens(writer)],
      [6, (writer) => this.#continues(writer)],
      [6, (writer) => this.#leavesGap(writer)],
      [2, (writer) => this.#ends(writer)],
      [
        2,
        (writer) => writer.reset(this.#someId(), prng.integer(0, 5), FILLER.subarray(0, prng.integer(0, 9))),
      ],
      [2, (writer) => writer.window(this.#someId(), prng.integer(0, 100_000))],
      [2, (writer) => writer.flowOpen(this.#newFlow(), FILLER.subarray(0, prng.integer(0, 20)))],
      [3, (writer) => writer.flowData(this.#someFlow(), FILLER.subarray(0, prng.integer(0, 20)))],
      [2, (writer) => writer.flowClose(this.#someFlow())],
      [1, (writer) => writer.challenge(FILLER.subarray(0, 8))],
      [1, (writer) => writer.response(FILLER.subarray(0, 8))],
      [1, (writer) => writer.ping()],
    ]
    let left = prng.integer(0, kinds.reduce((sum, [weight]) => sum + weight, 0) - 1)
    for (const [weight, move] of kinds) {
      left -= weight
      if (left < 0) return move
    }
    return (writer) => writer.ping()
  }

  #opens(writer: FrameWriter): void {
    if (this.#prng.chance(0.05)) this.#nextStream += 2 * this.#prng.integer(1, 200)
    const id = this.#nextStream
    this.#nextStream += 2
    const whole = this.#prng.chance(0.9)
    const ended = whole && this.#prng.chance(0.2)
    this.#piece(writer, id, 0, whole ? HEADER : HEADER.subarray(0, 1), ended)
    if (!whole || ended) return
    this.#streams.push({ id, next: HEADER.length })
    if (this.#streams.length > 64) this.#streams.shift()
  }

  #continues(writer: FrameWriter): void {
    const stream = this.#someStream()
    if (!stream) {
      this.#opens(writer)
      return
    }
    const length = Math.min(writer.left - 20, this.#prng.integer(0, 300), this.#roomOf(stream))
    this.#piece(writer, stream.id, stream.next, FILLER.subarray(0, Math.max(0, length)))
    stream.next += Math.max(0, length)
  }

  #leavesGap(writer: FrameWriter): void {
    const stream = this.#someStream()
    const room = stream ? this.#roomOf(stream) : 0
    if (!stream || room < 2) {
      this.#opens(writer)
      return
    }
    const ahead = this.#prng.integer(1, room - 1)
    const length = this.#prng.chance(0.7) ? 1 : Math.min(200, writer.left - 20, room - ahead)
    this.#piece(writer, stream.id, stream.next + ahead, FILLER.subarray(0, Math.max(1, length)))
  }

  #ends(writer: FrameWriter): void {
    const stream = this.#someStream()
    if (!stream) {
      this.#opens(writer)
      return
    }
    // far enough for all that was sent ahead: ends before that break the protocol
    this.#piece(writer, stream.id, stream.next + this.#roomOf(stream), FILLER.subarray(0, 0), true)
    this.#streams.splice(this.#streams.indexOf(stream), 1)
  }

  #piece(writer: FrameWriter, id: number, offset: number, data: Uint8Array, fin = false): void {
    writer.stream(id, offset, data.length, fin)
    writer.target.set(data, writer.at)
    writer.at += data.length
  }

  #someStream(): Known | undefined {
    return this.#streams[this.#prng.integer(0, this.#streams.length - 1)]
  }

  /** What every stream may send at least. */
  #roomOf({ next }: Known): number {
    return Math.max(0, 32_000 - next)
  }

  #someId(): number {
    return 2 * this.#prng.integer(0, this.#nextStream / 2 + 3)
  }

  #newFlow(): number {
    this.#nextFlow += this.#prng.chance(0.1) ? 2 * this.#prng.integer(1, 500) : 2
    return this.#nextFlow
  }

  #someFlow(): number {
    return 2 * this.#prng.integer(0, this.#nextFlow / 2 + 3)
  }

  /** Acknowledges what came lately: some of it, or all. */
  acknowledge(): void {
    const { adversary } = this
    const all = this.#prng.chance(0.8)
    const ranges = rangesOf(adversary.got.slice(-200).filter(() => all || this.#prng.chance(0.5)))
    if (adversary.got.length > 400) adversary.got.splice(0, 200)
    if (ranges.length === 0) return
    adversary.pour((writer) => writer.ack(Math.min(64, ranges.length), rangeIn(ranges), 0))
  }
}

/** Beside three times what came in, a side sends this for itself: probes of what the path takes. */
const OWN_BYTES = 8 * 1024

/** Whether more came out than was brought about by what went in. */
export function echoes({ bytesIn, bytesOut }: Session): boolean {
  return bytesOut > 3 * bytesIn + OWN_BYTES
}

/** One session of so many datagrams, or until the victim has had enough. */
export function fuzz(seed: number, datagrams: number): Session {
  const peer = new FuzzingPeer(seed)
  const { adversary } = peer
  const prng = new Prng(seed + 1)
  const costs: number[] = []
  let bytesIn = 0
  const before = adversary.victim.figures.bytesOut
  while (costs.length < datagrams && adversary.victim.state === 'open') {
    const cost = adversary.say(peer.next(), prng.chance(0.5) ? 2_048 : prng.integer(800, 1_400))
    costs.push(cost.ms)
    bytesIn += cost.bytes
    if (prng.chance(0.3)) peer.acknowledge()
  }
  return {
    seed,
    datagrams: costs.length,
    bytesIn,
    bytesOut: adversary.victim.figures.bytesOut - before,
    costs,
  }
}

/**
 * The datagrams of a session that cost more than `most`, in ms, each time: the same seed is run again, as another process, or
 * the garbage collector, may have had the machine meanwhile.
 */
export function dear(session: Session, most: number, repetitions = 12): { index: number; ms: number }[] {
  let least = session.costs.map((ms, index) => ({ index, ms })).filter(({ ms }) => ms > most)
  for (let time = 0; time < repetitions && least.length > 0; time++) {
    const { costs } = fuzz(session.seed, Math.max(...least.map(({ index }) => index)) + 1)
    least = least
      .map(({ index, ms }) => ({ index, ms: Math.min(ms, costs[index] ?? ms) }))
      .filter(({ ms }) => ms > most)
  }
  return least
}
