import { OVERHEAD } from './cipher.js'
import type { ControlQueue } from './control.js'
import { Fifo } from './fifo.js'
import { type FrameWriter, flowOverhead, MAX_HEADER } from './frame.js'
import type { PathMtu } from './path-mtu.js'
import { PeerNumbers, placeOf } from './peer-numbers.js'
import { StreamViolation } from './receive-half.js'

/** Flows at once that the peer may open. */
const MAX_FLOWS = 4096

/** So many flows are closed at a time, where all are. */
const A_SLICE = 64

/** Datagrams that wait for the pacing, and their bytes: what is beyond is dropped, as a router would. */
const MAX_WAITING = 1024
const MAX_WAITING_BYTES = 1024 * 1024

export type FlowState = 'open' | 'closed'

/** A flow of datagrams, unreliable and in no order. */
export class CoreFlow {
  readonly id: number
  readonly header: Buffer
  state: FlowState = 'open'

  constructor(id: number, header: Buffer) {
    this.id = id
    this.header = header
  }
}

export type FlowEvent =
  | { readonly name: 'flow'; readonly flow: CoreFlow }
  | { readonly name: 'flow-data'; readonly flow: CoreFlow; readonly data: Buffer }
  | { readonly name: 'flow-closed'; readonly flow: CoreFlow }

/** The flows of a tunnel, and their datagrams that wait to be sent. */
export class Flows {
  readonly #controls: ControlQueue
  readonly #mtu: PathMtu
  readonly #emit: (event: FlowEvent) => void
  readonly #open = new Map<number, CoreFlow>()
  /** Flows of the peer that were there: a repeated opening opens nothing twice. */
  readonly #theirs = new PeerNumbers()
  #theirsOpen = 0
  #next: number
  readonly #waiting = new Fifo<{ readonly flow: CoreFlow; readonly data: Uint8Array }>()
  #waitingBytes = 0
  #state: 'open' | 'over' = 'open'

  constructor(initiator: boolean, controls: ControlQueue, mtu: PathMtu, emit: (event: FlowEvent) => void) {
    this.#next = initiator ? 0 : 1
    this.#controls = controls
    this.#mtu = mtu
    this.#emit = emit
  }

  get size(): number {
    return this.#open.size
  }

  get waiting(): boolean {
    return this.#waiting.length > 0
  }

  open(header: Uint8Array): CoreFlow {
    if (header.length > MAX_HEADER) throw new RangeError(`A header has at most ${MAX_HEADER} bytes.`)
    const flow = new CoreFlow(this.#next, Buffer.from(header))
    this.#next += 2
    this.#open.set(flow.id, flow)
    this.#controls.add({
      length: 16 + header.length,
      write: (writer) => writer.flowOpen(flow.id, flow.header),
      wanted: () => flow.state === 'open',
    })
    return flow
  }

  /** The largest datagram of a flow now, in bytes. */
  maxPayload(flow: CoreFlow): number {
    return this.#mtu.size - OVERHEAD - flowOverhead(flow.id)
  }

  /** Queues a datagram, which must not change any more. False if it is too large, there is no room, or it is closed. */
  send(flow: CoreFlow, data: Uint8Array): boolean {
    if (flow.state === 'closed' || data.length > this.maxPayload(flow)) return false
    if (this.#waiting.length >= MAX_WAITING || this.#waitingBytes + data.length > MAX_WAITING_BYTES)
      return false
    this.#waiting.push({ flow, data })
    this.#waitingBytes += data.length
    return true
  }

  /** Closes a flow and tells the peer. */
  close(flow: CoreFlow): void {
    if (!this.#forget(flow)) return
    this.#tell(flow.id)
  }

  /** Writes datagrams, as many as fit. What cannot fit at all, as the path became narrower, is dropped. */
  write(writer: FrameWriter, fresh: boolean): boolean {
    let written = false
    for (let next = this.#waiting.first; next; next = this.#waiting.first) {
      const { flow, data } = next
      if (flow.state === 'open') {
        const fits = flowOverhead(flow.id) + data.length <= writer.left
        if (!fits && (written || !fresh)) break
        if (fits) {
          writer.flowData(flow.id, data)
          written = true
        }
      }
      this.#waitingBytes -= data.length
      this.#waiting.shift()
    }
    return written
  }

  /** @throws StreamViolation */
  opened(id: number, header: Buffer): void {
    if (this.#isOwn(id)) throw new StreamViolation('a flow of the other side opened')
    if (!this.#name(id)) return
    if (this.#theirsOpen >= MAX_FLOWS) {
      this.#tell(id)
      return
    }
    const flow = new CoreFlow(id, Buffer.from(header))
    this.#open.set(id, flow)
    this.#theirsOpen++
    this.#emit({ name: 'flow', flow })
  }

  arrived(id: number, data: Buffer): void {
    const flow = this.#open.get(id)
    if (flow) this.#emit({ name: 'flow-data', flow, data: Buffer.from(data) })
  }

  closed(id: number): void {
    const flow = this.#open.get(id)
    if (flow) this.#forget(flow)
    else if (!this.#isOwn(id)) this.#name(id) // its opening may still come
  }

  /** The tunnel is over, and every flow ends with it: `breakOff` does so. */
  endAll(): void {
    this.#state = 'over'
    this.#waiting.clear()
    this.#waitingBytes = 0
  }

  /** Ends some of the flows of a tunnel that is over: thousands at once would hold up everybody else. */
  breakOff(): void {
    if (this.#state === 'open') return
    let most = A_SLICE
    for (const flow of this.#open.values()) {
      if (most-- === 0) return
      this.#forget(flow)
    }
  }

  #isOwn(id: number): boolean {
    return id % 2 === this.#next % 2
  }

  /** Whether a flow of the peer is there for the first time. */
  #name(id: number): boolean {
    const place = placeOf(id)
    const naming = this.#theirs.name(place)
    if (naming !== 'no room') return naming === 'first'
    // what is missing below then opens nothing, late as it is
    this.#theirs.settle()
    return this.#theirs.name(place) === 'first'
  }

  #forget(flow: CoreFlow): boolean {
    if (flow.state === 'closed') return false
    flow.state = 'closed'
    if (this.#open.delete(flow.id) && !this.#isOwn(flow.id)) this.#theirsOpen--
    this.#emit({ name: 'flow-closed', flow })
    return true
  }

  #tell(id: number): void {
    this.#controls.add({ length: 16, write: (writer) => writer.flowClose(id), wanted: () => true })
  }
}
