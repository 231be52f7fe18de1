import type { CoreFlow, Flows } from './flows.js'

/** A flow of datagrams through the tunnel: unreliable, in no order, each whole or not at all. */
export interface TunnelFlow {
  /** Sends a datagram. False if it is longer than `maxPayload` or was dropped for want of room. */
  send(data: Uint8Array): boolean
  /** Takes each datagram of the peer; those before it is set are dropped. */
  onmessage: ((data: Buffer) => void) | undefined
  close(): void
  /** The longest datagram that goes through now, in bytes. It may change with the path. */
  readonly maxPayload: number
  /** Resolves when either side closed it, or the tunnel is over. */
  readonly closed: Promise<void>
}

export class ConnectedFlow implements TunnelFlow {
  readonly #core: CoreFlow
  readonly #flows: Flows
  readonly #wake: () => void
  #resolve: () => void = () => {}
  onmessage: ((data: Buffer) => void) | undefined
  readonly closed = new Promise<void>((resolve) => {
    this.#resolve = resolve
  })

  constructor(core: CoreFlow, flows: Flows, wake: () => void) {
    this.#core = core
    this.#flows = flows
    this.#wake = wake
  }

  get maxPayload(): number {
    return this.#flows.maxPayload(this.#core)
  }

  send(data: Uint8Array): boolean {
    const taken = this.#flows.send(this.#core, data)
    if (taken) this.#wake()
    return taken
  }

  close(): void {
    this.#flows.close(this.#core)
    this.#wake()
  }

  /** Either side closed it. */
  over(): void {
    this.#resolve()
  }
}
