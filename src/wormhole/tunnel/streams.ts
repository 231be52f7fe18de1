import { PlexusError } from '../../errors/index.js'
import type { ControlQueue } from './control.js'
import { Fifo } from './fifo.js'
import { type FrameWriter, fitSentence, streamOverhead } from './frame.js'
import { type Naming, PeerNumbers, placeOf } from './peer-numbers.js'
import { MAX_PIECES } from './reassembly.js'
import { INITIAL_WINDOW, StreamViolation, WINDOW_BUDGET, type WindowBudget } from './receive-half.js'
import type { RoundTrip } from './round-trip.js'
import { SendMemory } from './send-memory.js'
import type { Delivery } from './sent-packets.js'
import { CoreStream, RESET_CODES, StreamDelivery, type StreamOwner, type StreamResetCode } from './stream.js'
import type { TunnelMemory } from './tunnel-memory.js'

/** Streams at once that the peer may open: beyond, they are refused. */
const MAX_STREAMS = 4096

/** So many streams may be under way that overtake others: one that is further ahead breaks the protocol. */
const MAX_AHEAD = 2 * MAX_STREAMS

/** The header of a stream that was opened comes within this time, in ms, or the stream is broken off. */
const HEADER_TIME = 60_000

/** So many streams are broken off at a time. */
const A_SLICE = 64

/** Bytes that all streams together keep ready to be sent, and what each may at least and at most. */
const UNSENT_TOTAL = 4 * 2 ** 20
const UNSENT_LEAST = 16 * 1024
const UNSENT_MOST = 256 * 1024

/** What a stream costs, in bytes: what may wait to be read and to be sent. */
const STREAM_COST = INITIAL_WINDOW + UNSENT_LEAST

/** Told to the peer when there is no memory left for it. */
const NO_MEMORY = 'The other side has no more memory for this peer.'

/** A stream frame with fewer bytes of data is not begun at the end of a datagram. */
const LEAST_PIECE = 64

export type StreamEvent =
  /** The peer opened a stream, and its header is here. */
  | { readonly name: 'stream'; readonly stream: CoreStream; readonly header: Buffer }
  /** There is something to read, or the end. */
  | { readonly name: 'readable'; readonly stream: CoreStream }
  /** A stream that was `hungry` takes more. */
  | { readonly name: 'writable'; readonly stream: CoreStream }
  /** The peer broke it off, as its state says. */
  | { readonly name: 'reset'; readonly stream: CoreStream }

/** The streams of a tunnel: who is open, and whose turn it is. */
export class Streams implements StreamOwner {
  readonly #controls: ControlQueue
  readonly #rtt: RoundTrip
  readonly #emit: (event: StreamEvent) => void
  readonly #open = new Map<number, CoreStream>()
  readonly #budget: WindowBudget
  readonly #retained: SendMemory
  /** Streams that wait until others leave some of that. */
  readonly #starved = new Set<CoreStream>()
  /** Streams with something to send, in the order of their turns. */
  readonly #queue = new Fifo<CoreStream>()
  #nextOwn: number
  /** Which streams of the peer were there. */
  readonly #theirs = new PeerNumbers()
  #theirsOpen = 0
  /** Those whose header has not come yet, and since when, in ms. */
  readonly #headed = new Map<CoreStream, number>()
  /** What the streams that are left are told, once the tunnel is over. */
  #ending: string | undefined
  /** Whether the peer was told why its streams are refused, since it last could open one. */
  #refusing: 'untold' | 'told' = 'untold'

  constructor(
    initiator: boolean,
    controls: ControlQueue,
    rtt: RoundTrip,
    emit: (event: StreamEvent) => void,
    memory?: TunnelMemory,
  ) {
    this.#budget = { left: WINDOW_BUDGET, pieces: MAX_PIECES, ...(memory ? { memory } : {}) }
    this.#retained = new SendMemory(UNSENT_TOTAL, memory)
    this.#controls = controls
    this.#rtt = rtt
    this.#emit = emit
    this.#nextOwn = initiator ? 0 : 1
  }

  get size(): number {
    return this.#open.size
  }

  get waiting(): boolean {
    return this.#queue.length > 0
  }

  /** A stream with fewer unsent bytes than this takes more. */
  get unsentLimit(): number {
    return Math.max(UNSENT_LEAST, Math.min(UNSENT_MOST, this.#retained.unsent / Math.max(1, this.#open.size)))
  }

  /** @throws PlexusError BUSY if there is no memory left for this peer */
  open(header: Uint8Array): CoreStream {
    const stream = new CoreStream(this, this.#nextOwn, this.#budget, this.#retained, 'us')
    if (!this.#pay(stream)) {
      throw new PlexusError('BUSY', 'There is no memory for more connections with this peer.', {
        advice: 'Close some connections, or give the program more memory.',
      })
    }
    this.#open.set(stream.id, stream)
    try {
      stream.writeHeader(header)
    } catch (thrown) {
      this.#drop(stream)
      throw thrown
    }
    this.#nextOwn += 2
    return stream
  }

  /** A stream has something to send. */
  enqueue(stream: CoreStream): void {
    if (stream.queued || stream.state.name === 'reset') return
    this.#retained.refill()
    if (!stream.send.ready) {
      if (stream.send.starved) this.#starved.add(stream)
      return
    }
    stream.queued = true
    this.#queue.push(stream)
  }

  /**
   * Writes pieces of the streams whose turn it is. One that has more goes to the end of the queue, so that each gets a
   * datagram in turn and none holds up another.
   */
  write(writer: FrameWriter, deliveries: Delivery[]): void {
    let turns = this.#queue.length
    while (turns-- > 0) {
      const stream = this.#queue.first as CoreStream
      const room = writer.left - streamOverhead(stream.id, Number.MAX_SAFE_INTEGER)
      if (room < LEAST_PIECE) return
      this.#queue.shift()
      stream.queued = false
      if (stream.state.name === 'reset') continue
      const piece = stream.send.take(room)
      if (!piece) continue
      writer.stream(stream.id, piece.offset, piece.length, piece.fin)
      stream.send.copy(piece, writer.target, writer.at)
      writer.at += piece.length
      deliveries.push(new StreamDelivery(this, stream, piece))
      if (stream.hungry && stream.send.unsent < this.unsentLimit) {
        stream.hungry = false
        this.#emit({ name: 'writable', stream })
      }
      this.enqueue(stream)
      this.#feed()
    }
  }

  /** Something of a stream was acknowledged. */
  acknowledged(stream: CoreStream): void {
    this.enqueue(stream)
    this.#feed()
    this.#retained.settle(this.#open.size)
    this.closeMaybe(stream)
  }

  /** @returns false if it cannot be kept now: the peer is to send it again. @throws StreamViolation */
  arrived(id: number, offset: number, data: Buffer, fin: boolean, now: number): boolean {
    const stream = this.#open.get(id) ?? this.#begun(id, now)
    if (typeof stream === 'string') return stream !== 'no room'
    if (!stream.receive.receive(offset, data, fin)) return false
    if (stream.state.name === 'headed') {
      const header = this.#takeHeader(stream)
      if (!header) return true
      this.#headed.delete(stream)
      this.#emit({ name: 'stream', stream, header })
    }
    if (stream.receive.readable > 0 || stream.receive.done) this.#readable(stream)
    this.closeMaybe(stream)
    return true
  }

  /** Of a stream that is over, or never was, this says nothing. @throws StreamViolation */
  allowed(id: number, limit: number): void {
    const stream = this.#open.get(id)
    if (!stream) this.#assertOpened(id)
    else if (stream.send.allow(limit)) this.enqueue(stream)
  }

  /** @returns false if it cannot be remembered now: the peer is to send it again. @throws StreamViolation */
  wasReset(id: number, code: number, sentence: string): boolean {
    const stream = this.#open.get(id)
    if (!stream) return this.#name(id) !== 'no room' // what opened it may still come, and opens nothing
    const { name } = stream.state
    stream.state = { name: 'reset', by: 'peer', code: RESET_CODES[code] ?? 'STREAM_RESET', sentence }
    this.#drop(stream)
    if (name !== 'headed') this.#emit({ name: 'reset', stream })
    return true
  }

  reset(stream: CoreStream, code: StreamResetCode, sentence: string): void {
    if (stream.state.name === 'reset' || stream.state.name === 'closed') return
    stream.state = { name: 'reset', by: 'us', code, sentence }
    this.#drop(stream)
    this.#tellReset(stream.id, code, sentence)
  }

  /** Something was read: the peer may hear of more room, and the stream may be at its end. */
  consumed(stream: CoreStream, now: number): void {
    if (stream.receive.grant(now, this.#rtt.smoothed) !== undefined && !stream.granting) {
      stream.granting = true
      this.#controls.add({
        length: 17,
        write: (writer) => {
          stream.granting = false
          writer.window(stream.id, stream.receive.limit)
        },
        wanted: () => this.#open.has(stream.id) && !stream.receive.complete,
      })
    }
    this.closeMaybe(stream)
  }

  /** Ends a stream of which nothing is left to do. */
  closeMaybe(stream: CoreStream): void {
    if (stream.state.name !== 'open' || !stream.send.done || !stream.receive.done) return
    stream.state = { name: 'closed' }
    this.#drop(stream)
  }

  /** When a stream is broken off because its header has not come, in ms; Infinity if none waits for it. */
  get dueAt(): number {
    const [first] = this.#headed
    return first ? first[1] + HEADER_TIME : Number.POSITIVE_INFINITY
  }

  /** @param asleep for how long the process stood still, in ms */
  tick(now: number, asleep: number): void {
    if (asleep > 0) for (const [stream, since] of this.#headed) this.#headed.set(stream, since + asleep)
    let most = A_SLICE
    for (const [stream, since] of this.#headed) {
      if (now < since + HEADER_TIME || most-- === 0) return
      this.reset(stream, 'STREAM_RESET', '')
    }
  }

  /** The tunnel is over, and every stream ends with it: `breakOff` does so. */
  endAll(sentence: string): void {
    this.#ending ??= sentence
    this.#queue.clear()
    this.#starved.clear()
  }

  /** Ends some of the streams of a tunnel that is over: thousands at once would hold up everybody else. */
  breakOff(): void {
    if (this.#ending === undefined) return
    let most = A_SLICE
    for (const stream of this.#open.values()) {
      if (stream.state.name === 'headed') {
        this.#open.delete(stream.id) // nobody knows of it
        continue
      }
      if (most-- === 0) return
      stream.state = { name: 'reset', by: 'peer', code: 'STREAM_RESET', sentence: this.#ending }
      this.#drop(stream)
      this.#emit({ name: 'reset', stream })
    }
  }

  /** The stream of an id that is not open, if the peer opens it by this. */
  #begun(id: number, now: number): CoreStream | 'over' | 'no room' {
    const naming = this.#name(id)
    if (naming !== 'first') return naming === 'again' ? 'over' : naming
    if (this.#theirsOpen >= MAX_STREAMS) return this.#refuse(id, 'Too many streams at once.')
    const stream = new CoreStream(this, id, this.#budget, this.#retained, 'peer')
    if (!this.#pay(stream)) return this.#refuse(id, NO_MEMORY)
    this.#refusing = 'untold'
    this.#open.set(id, stream)
    this.#headed.set(stream, now)
    this.#theirsOpen++
    return stream
  }

  /** Not more bytes than it cost the peer: the reason is told once. */
  #refuse(id: number, sentence: string): 'over' {
    this.#tellReset(id, 'SERVICE_REFUSED', this.#refusing === 'told' ? '' : sentence)
    this.#refusing = 'told'
    return 'over'
  }

  /** Notes that a stream of the peer was there; one of this side is over, or was never opened. @throws StreamViolation */
  #name(id: number): Naming {
    if (this.#isOwn(id)) {
      this.#assertOpened(id)
      return 'again'
    }
    const place = placeOf(id)
    if (place > this.#theirs.next + MAX_AHEAD) throw new StreamViolation('too many streams at once')
    return this.#theirs.name(place)
  }

  #assertOpened(id: number): void {
    if (this.#isOwn(id) && id >= this.#nextOwn) throw new StreamViolation('a stream that nobody opened')
  }

  #isOwn(id: number): boolean {
    return id % 2 === this.#nextOwn % 2
  }

  #tellReset(id: number, code: StreamResetCode, sentence: string): void {
    const bytes = fitSentence(sentence)
    this.#controls.add({
      length: 16 + bytes.length,
      write: (writer) => writer.reset(id, RESET_CODES.indexOf(code), bytes),
      wanted: () => true,
    })
  }

  /** One that waited for what others keep goes on, and then the next one. */
  #feed(): void {
    if (this.#retained.left <= 0) return
    const [stream] = this.#starved
    if (!stream) return
    this.#starved.delete(stream)
    this.enqueue(stream)
  }

  #takeHeader(stream: CoreStream): Buffer | undefined {
    try {
      return stream.takeHeader()
    } catch {
      throw new StreamViolation('a header that is too long')
    }
  }

  #readable(stream: CoreStream): void {
    if (stream.announced) return
    stream.announced = true
    this.#emit({ name: 'readable', stream })
  }

  /** Takes the memory of a stream. False if there is none. */
  #pay(stream: CoreStream): boolean {
    const { memory } = this.#budget
    if (memory === undefined) return true
    stream.paid = memory.draw(STREAM_COST)
    if (stream.paid) this.#retained.begin()
    else memory.short()
    return stream.paid
  }

  #drop(stream: CoreStream): void {
    if (!this.#open.delete(stream.id)) return
    if (!this.#isOwn(stream.id)) this.#theirsOpen--
    this.#headed.delete(stream)
    if (stream.paid) this.#budget.memory?.restore(STREAM_COST)
    stream.send.discard()
    this.#starved.delete(stream)
    this.#feed()
    this.#retained.settle(this.#open.size)
    stream.receive.discard()
  }
}
