import { Fifo } from './fifo.js'
import type { FrameWriter } from './frame.js'
import { StreamViolation } from './receive-half.js'
import type { Delivery } from './sent-packets.js'

/** Frames that wait at once: an answer to each of 4096 streams and as many flows, several times over. */
const MAX_WAITING = 65_536

interface ControlOptions {
  /** Bytes that it takes at most. */
  readonly length: number
  readonly write: (writer: FrameWriter) => void
  /** False once it has no use any more: then it is not sent, or not again. */
  readonly wanted: () => boolean
  readonly onacked?: () => void
}

/** A frame other than data that is repeated until the peer has it. */
export class Control implements Delivery {
  readonly #queue: ControlQueue
  readonly #options: ControlOptions

  constructor(queue: ControlQueue, options: ControlOptions) {
    this.#queue = queue
    this.#options = options
  }

  get length(): number {
    return this.#options.length
  }

  get wanted(): boolean {
    return this.#options.wanted()
  }

  write(writer: FrameWriter): void {
    this.#options.write(writer)
  }

  acked(): void {
    this.#options.onacked?.()
  }

  lost(): void {
    if (this.wanted) this.#queue.again(this)
  }
}

/** Control frames that wait for a datagram. */
export class ControlQueue {
  readonly #waiting = new Fifo<Control>()

  get empty(): boolean {
    return this.#waiting.length === 0
  }

  /** A peer that asks for more and more, and lets nothing go out. @throws StreamViolation */
  assertBounded(): void {
    if (this.#waiting.length > MAX_WAITING) throw new StreamViolation('more questions than can be answered')
  }

  add(options: ControlOptions): void {
    this.#waiting.push(new Control(this, options))
  }

  again(control: Control): void {
    this.#waiting.push(control)
  }

  /** Writes as many as fit, and adds them to what hears of the datagram. */
  write(writer: FrameWriter, deliveries: Delivery[]): void {
    for (let control = this.#waiting.first; control; control = this.#waiting.first) {
      if (control.wanted) {
        if (control.length > writer.left) return
        control.write(writer)
        deliveries.push(control)
      }
      this.#waiting.shift()
    }
  }

  clear(): void {
    this.#waiting.clear()
  }
}
