import { asPlexusError } from '../errors/index.js'
import type { Datagram, Logger, UdpPort } from '../net/index.js'

export interface SocketsOptions {
  readonly log: Logger
  readonly onDatagram: (datagram: Datagram, socket: number) => void
  /** Throws when there is none; without it there are no further ones. */
  readonly open?: () => UdpPort
}

/** The sockets of one punch by number: 0 is the caller's, the others are opened when they are first sent from. */
export class Sockets {
  readonly #ports = new Map<number, UdpPort>()
  readonly #stops: (() => void)[] = []
  readonly #options: SocketsOptions
  /** What could not be opened is not tried again and again. */
  readonly #refused = new Set<number>()

  constructor(first: UdpPort, options: SocketsOptions) {
    this.#options = options
    this.#take(0, first)
  }

  /** Undefined when the system gives no more. */
  get(socket: number): UdpPort | undefined {
    const known = this.#ports.get(socket)
    if (known || this.#refused.has(socket)) return known
    const { open, log } = this.#options
    if (!open) return undefined
    try {
      const port = open()
      this.#take(socket, port)
      return port
    } catch (thrown) {
      if (this.#refused.size === 0) {
        log.warn(
          {},
          `only ${this.#ports.size - 1} more sockets could be opened: ${asPlexusError(thrown).message}`,
        )
      }
      this.#refused.add(socket)
      return undefined
    }
  }

  /** Listens no longer, and closes all but one and the caller's. @returns the one */
  keep(socket: number): UdpPort {
    for (const stop of this.#stops) stop()
    const kept = this.#ports.get(socket)
    for (const [number, port] of this.#ports) if (number !== 0 && number !== socket) void port.close()
    if (!kept) throw new Error(`socket ${socket} was never open`)
    return kept
  }

  #take(socket: number, port: UdpPort): void {
    this.#ports.set(socket, port)
    this.#stops.push(port.listen((datagram) => this.#options.onDatagram(datagram, socket)))
  }
}
