import type { Datagram, Endpoint } from '../../net/index.js'
import { Fifo } from './fifo.js'

/** Datagrams that wait for the peer's share of the event loop, and their bytes: what is beyond is lost, as at a full socket. */
const MOST = 4096
const MOST_BYTES = 4 * 2 ** 20

interface Arrival {
  readonly data: Buffer
  readonly from: Endpoint
  /** When it came, in ms. */
  readonly at: number
}

/** What came and was not looked at yet. */
export class Arrivals {
  readonly #waiting = new Fifo<Arrival>()
  #bytes = 0

  get length(): number {
    return this.#waiting.length
  }

  /** Returns false if there is no room: then the datagram is lost. */
  add({ data, from }: Datagram, at: number): boolean {
    if (this.#waiting.length >= MOST || this.#bytes + data.length > MOST_BYTES) return false
    this.#waiting.push({ data, from, at })
    this.#bytes += data.length
    return true
  }

  next(): Arrival | undefined {
    const arrival = this.#waiting.shift()
    if (arrival) this.#bytes -= arrival.data.length
    return arrival
  }

  clear(): void {
    this.#waiting.clear()
    this.#bytes = 0
  }
}
