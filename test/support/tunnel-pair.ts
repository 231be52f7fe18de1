import { Duplex } from 'node:stream'
import { type ErrorCode, PlexusError } from '../../src/errors/index.js'
import type { Tunnel, TunnelFlow, TunnelOver, TunnelStream } from '../../src/wormhole/index.js'

/** One end of a stream in memory: what is written here is read there, no sooner than it is asked for. */
class MemoryStream extends Duplex implements TunnelStream {
  other: MemoryStream | undefined
  #written: (() => void) | undefined
  #state: 'open' | 'reset' = 'open'

  constructor() {
    super({ allowHalfOpen: true })
  }

  override _read(): void {
    this.other?.wanted()
  }

  wanted(): void {
    const written = this.#written
    this.#written = undefined
    written?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    setImmediate(() => {
      if (!this.other || this.other.destroyed || this.other.push(chunk)) done()
      else this.#written = done
    })
  }

  override _final(done: () => void): void {
    setImmediate(() => {
      this.other?.push(null)
      done()
    })
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { other } = this
    this.wanted()
    if (
      this.#state === 'open' &&
      other &&
      !other.destroyed &&
      !(this.readableEnded && this.writableFinished)
    ) {
      setImmediate(() => other.cut(new PlexusError('STREAM_RESET', 'The peer reset it.')))
    }
    done(error)
  }

  cut(error: PlexusError): void {
    this.#state = 'reset'
    this.destroy(error)
  }

  reset(code: ErrorCode, sentence: string): void {
    if (this.destroyed) return
    this.#state = 'reset'
    const { other } = this
    this.destroy()
    setImmediate(() => {
      if (other && !other.destroyed) other.cut(new PlexusError(code, sentence))
    })
  }
}

class MemoryFlow implements TunnelFlow {
  onmessage: ((data: Buffer) => void) | undefined
  other: MemoryFlow | undefined
  readonly maxPayload = 1100
  readonly closed: Promise<void>
  #end: () => void = () => {}
  isClosed = false

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  send(data: Uint8Array): boolean {
    if (this.isClosed || data.length > this.maxPayload) return false
    setImmediate(() => this.other?.onmessage?.(Buffer.from(data)))
    return true
  }

  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#end()
    setImmediate(() => this.other?.close())
  }
}

/** A tunnel within one process, with everything that a test may want to do to it. */
export class MemoryTunnel implements Tunnel {
  readonly ready = Promise.resolve()
  readonly over: Promise<TunnelOver>
  other: MemoryTunnel | undefined
  readonly streams = new Set<MemoryStream>()
  readonly flows = new Set<MemoryFlow>()
  #end: (over: TunnelOver) => void = () => {}
  #onstream: (stream: TunnelStream, header: Uint8Array) => void = () => {}
  #onflow: (flow: TunnelFlow, header: Uint8Array) => void = () => {}
  #isOver = false

  constructor() {
    this.over = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  onstream(handler: (stream: TunnelStream, header: Uint8Array) => void): void {
    this.#onstream = handler
  }

  onflow(handler: (flow: TunnelFlow, header: Uint8Array) => void): void {
    this.#onflow = handler
  }

  #keep(stream: MemoryStream): MemoryStream {
    this.streams.add(stream)
    stream.once('close', () => this.streams.delete(stream))
    return stream
  }

  open(header: Uint8Array): TunnelStream {
    const { other } = this
    if (this.#isOver || !other) throw new PlexusError('TUNNEL_LOST', 'The tunnel is over.')
    const [here, there] = [this.#keep(new MemoryStream()), other.#keep(new MemoryStream())]
    here.other = there
    there.other = here
    setImmediate(() => other.#onstream(there, header))
    return here
  }

  openFlow(header: Uint8Array): TunnelFlow {
    const { other } = this
    if (this.#isOver || !other) throw new PlexusError('TUNNEL_LOST', 'The tunnel is over.')
    const [here, there] = [new MemoryFlow(), new MemoryFlow()]
    here.other = there
    there.other = here
    this.flows.add(here)
    other.flows.add(there)
    void here.closed.then(() => this.flows.delete(here))
    void there.closed.then(() => other.flows.delete(there))
    setImmediate(() => other.#onflow(there, header))
    return here
  }

  stats() {
    const path = { address: '192.0.2.1', port: 9 }
    const { streams, flows } = this
    return {
      path,
      rtt: 0.5,
      streams: streams.size,
      flows: flows.size,
      bytesIn: 0,
      bytesOut: 0,
      retransmitted: 0,
      since: 0,
    }
  }

  /** As if the path had gone. */
  break(over: TunnelOver = { kind: 'dead' }): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const stream of this.streams) stream.cut(new PlexusError('TUNNEL_LOST', 'The tunnel was lost.'))
    for (const flow of this.flows) flow.close()
    this.#end(over)
  }

  async close(): Promise<void> {
    this.break({ kind: 'closed' })
    this.other?.break({ kind: 'peer-closed' })
  }
}

export function tunnelPair(): [MemoryTunnel, MemoryTunnel] {
  const [one, other] = [new MemoryTunnel(), new MemoryTunnel()]
  one.other = other
  other.other = one
  return [one, other]
}
