import { MAX_HEADER } from './frame.js'
import { INITIAL_WINDOW, ReceiveHalf, type WindowBudget } from './receive-half.js'
import { type Piece, type RetainedBudget, SendHalf } from './send-half.js'
import type { Delivery } from './sent-packets.js'

/** How a stream was broken off; on the wire the place in this list. */
export const RESET_CODES = [
  'STREAM_RESET',
  'SERVICE_REFUSED',
  'SERVICE_UNREACHABLE',
  'SERVICE_UNKNOWN',
  'SERVICE_DENIED',
] as const
export type StreamResetCode = (typeof RESET_CODES)[number]

/** Bytes before the header: its length. */
const HEADER_PREFIX = 2

/**
 * - `headed`: opened by the peer, its header has not come yet
 * - `open`: in use, each direction until its end
 * - `reset`: broken off, by this side or the other
 * - `closed`: both directions came to their end and everything was acknowledged and read
 */
export type StreamState =
  | { readonly name: 'headed' }
  | { readonly name: 'open' }
  | {
      readonly name: 'reset'
      readonly by: 'us' | 'peer'
      readonly code: StreamResetCode
      readonly sentence: string
    }
  | { readonly name: 'closed' }

/** What a stream asks of the tunnel that it is in. */
export interface StreamOwner {
  /** The stream has something to send. */
  enqueue(stream: CoreStream): void
  /** Something was read of it. @param now ms */
  consumed(stream: CoreStream, now: number): void
  /** Breaks it off, and tells the peer. */
  reset(stream: CoreStream, code: StreamResetCode, sentence: string): void
  /** Something of it was acknowledged. */
  acknowledged(stream: CoreStream): void
  /** It may be at its end. */
  closeMaybe(stream: CoreStream): void
}

/**
 * One stream inside the tunnel, without a socket or a timer. Its first bytes are the header, so that opening it and the
 * first data travel together.
 */
export class CoreStream {
  readonly id: number
  readonly send: SendHalf
  readonly receive: ReceiveHalf
  readonly #owner: StreamOwner
  #state: StreamState
  /** It is in the queue of those that want to send. */
  queued = false
  /** Its writer waits until it takes more. */
  hungry = false
  /** It is known to be readable, and nobody came for it since. */
  announced = false
  /** A new limit waits to be told. */
  granting = false
  /** Its memory was drawn, and is given back with it. */
  paid = false
  /** The header's bytes that came so far. */
  #head: Buffer | undefined

  constructor(
    owner: StreamOwner,
    id: number,
    budget: WindowBudget,
    retained: RetainedBudget,
    opener: 'us' | 'peer',
  ) {
    this.#owner = owner
    this.id = id
    this.send = new SendHalf(INITIAL_WINDOW, retained)
    this.receive = new ReceiveHalf(budget)
    this.#state = { name: opener === 'us' ? 'open' : 'headed' }
  }

  get state(): StreamState {
    return this.#state
  }

  set state(state: StreamState) {
    this.#state = state
  }

  /** Writes the header: the first thing, by the side that opens. */
  writeHeader(header: Uint8Array): void {
    if (header.length > MAX_HEADER) throw new RangeError(`A header has at most ${MAX_HEADER} bytes.`)
    const head = Buffer.alloc(HEADER_PREFIX + header.length)
    head.writeUInt16BE(header.length)
    head.set(header, HEADER_PREFIX)
    this.write(head)
  }

  /** Takes bytes to send, without a copy. Nothing happens once the stream is over. */
  write(data: Uint8Array): void {
    if (this.#state.name !== 'open' || this.send.ended) return
    this.send.write(data)
    this.#owner.enqueue(this)
  }

  /** No more will be written. */
  end(): void {
    if (this.#state.name !== 'open') return
    this.send.end()
    this.#owner.enqueue(this)
  }

  /** The next bytes that came; undefined if there is nothing. Reading makes room for more. */
  read(now: number): Buffer | undefined {
    this.announced = false
    const data = this.receive.read()
    if (data) this.#owner.consumed(this, now)
    return data
  }

  /** The peer's end came, and everything before it was read. */
  get atEnd(): boolean {
    return this.#state.name !== 'reset' && this.receive.done
  }

  /** Breaks the stream off; the peer hears why. */
  reset(code: StreamResetCode, sentence: string): void {
    this.#owner.reset(this, code, sentence)
  }

  /**
   * The header, once all of it came, and only once; undefined before.
   * @throws RangeError if it is longer than a header may be
   */
  takeHeader(): Buffer | undefined {
    if (this.#state.name !== 'headed') return undefined
    for (;;) {
      if (this.#head && this.#head.length >= HEADER_PREFIX) {
        const length = this.#head.readUInt16BE()
        if (length > MAX_HEADER) throw new RangeError('a header that is too long')
        if (this.#head.length >= HEADER_PREFIX + length) {
          const rest = this.#head.subarray(HEADER_PREFIX + length)
          const header = Buffer.from(this.#head.subarray(HEADER_PREFIX, HEADER_PREFIX + length))
          this.#head = undefined
          if (rest.length > 0) this.receive.unread(rest)
          this.#state = { name: 'open' }
          return header
        }
      }
      const data = this.receive.read()
      if (!data) return undefined
      this.#head = this.#head ? Buffer.concat([this.#head, data]) : data
    }
  }
}

/** A piece of a stream on its way. */
export class StreamDelivery implements Delivery {
  readonly #owner: StreamOwner
  readonly #stream: CoreStream
  readonly #piece: Piece

  constructor(owner: StreamOwner, stream: CoreStream, piece: Piece) {
    this.#owner = owner
    this.#stream = stream
    this.#piece = piece
  }

  acked(): void {
    this.#stream.send.acked(this.#piece)
    this.#owner.acknowledged(this.#stream)
  }

  lost(): void {
    const { name } = this.#stream.state
    if (name !== 'open' || this.#stream.send.done) return
    this.#stream.send.lose(this.#piece)
    this.#owner.enqueue(this.#stream)
  }
}
