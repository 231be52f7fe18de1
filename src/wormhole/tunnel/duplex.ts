import { Duplex } from 'node:stream'
import { PlexusError } from '../../errors/index.js'
import { type CoreStream, RESET_CODES, type StreamResetCode } from './stream.js'

/** A stream of the tunnel: a Duplex whose two directions end by themselves. */
export interface TunnelStream extends Duplex {
  /**
   * Breaks the stream off. The peer's stream ends with a PlexusError of this code and this sentence; here it closes
   * without an error.
   */
  reset(code: StreamResetCode, sentence: string): void
}

/** What a stream needs of the tunnel around it. */
export interface StreamHost {
  /** Monotonic time in ms. */
  now(): number
  /** Bytes that a stream may hold unsent before its writer waits. */
  unsentLimit(): number
  /** Something was written or read: datagrams may be due. */
  wake(): void
}

/** Bytes that node's own buffers hold in each direction: little, as the windows below them hold the rest. */
const HIGH_WATER = 16 * 1024

export class CoreDuplex extends Duplex implements TunnelStream {
  readonly #core: CoreStream
  readonly #host: StreamHost
  #written: (() => void) | undefined
  #reading = false
  #ended = false

  constructor(core: CoreStream, host: StreamHost) {
    super({ allowHalfOpen: true, readableHighWaterMark: HIGH_WATER, writableHighWaterMark: HIGH_WATER })
    this.#core = core
    this.#host = host
  }

  reset(code: StreamResetCode, sentence: string): void {
    this.#core.reset(code, sentence)
    this.#host.wake()
    this.destroy()
  }

  /** Hands on what came, until the reader has enough. */
  deliver(): void {
    this.#core.announced = false
    while (this.#reading && !this.destroyed) {
      const data = this.#core.read(this.#host.now())
      if (data === undefined) break
      this.#reading = this.push(data)
      this.#host.wake()
    }
    // what nobody wants yet must not hold the datagrams that it came in
    this.#core.receive.settle()
    if (this.#core.atEnd && !this.#ended && !this.destroyed) {
      this.#ended = true
      this.push(null)
    }
  }

  /** The tunnel takes more. */
  proceed(): void {
    const written = this.#written
    this.#written = undefined
    written?.()
  }

  /** The peer broke it off, or the tunnel is over. */
  broken(): void {
    const { state } = this.#core
    if (state.name !== 'reset' || this.destroyed) return
    if (this.#ended && this.writableEnded) {
      this.destroy() // it was at its end in both directions: nothing is missing
      return
    }
    this.destroy(new PlexusError(state.code, state.sentence || 'The other side aborted the connection.'))
  }

  override _read(): void {
    this.#reading = true
    this.deliver()
  }

  override _write(data: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#core.write(data)
    this.#accept(callback)
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    for (const { chunk } of chunks) this.#core.write(chunk)
    this.#accept(callback)
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#core.end()
    this.#host.wake()
    callback()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // after both ends came this says nothing; what was written still arrives
    if (!this.#ended || !this.#core.send.ended) {
      const code = error instanceof PlexusError ? resetCode(error.code) : 'STREAM_RESET'
      this.#core.reset(code, error?.message ?? 'The other side closed the connection.')
    }
    this.#host.wake()
    this.#written = undefined
    callback(error)
  }

  #accept(callback: (error?: Error | null) => void): void {
    this.#host.wake()
    if (this.#core.send.unsent < this.#host.unsentLimit()) {
      callback()
      return
    }
    this.#core.hungry = true
    this.#written = callback
  }
}

function resetCode(code: string): StreamResetCode {
  return RESET_CODES.find((known) => known === code) ?? 'STREAM_RESET'
}
