import { PlexusError } from '../errors/index.js'
import { UdpPort } from './port.js'

/**
 * Local ports to choose from, both ends among them. They are taken in turn, so that one which was let go rests for as
 * long as it can: packets for its last user may still be on the way.
 */
export class PortRange {
  readonly from: number
  readonly to: number
  readonly #held = new Map<number, number>()
  #next: number

  constructor(from: number, to: number) {
    this.from = from
    this.to = to
    this.#next = from
  }

  /** How many ports there are. */
  get size(): number {
    return this.to - this.from + 1
  }

  /** How many of them are held for somebody else. */
  get held(): number {
    return this.#held.size
  }

  /**
   * Binds the next port that is free.
   * @throws PlexusError ADDRESS_IN_USE if none is, ADDRESS_UNAVAILABLE
   */
  open(address?: string): UdpPort {
    for (let tries = 0; tries < this.size; tries++) {
      const port = this.#next
      this.#next = port === this.to ? this.from : port + 1
      if (this.#held.has(port)) continue
      try {
        return UdpPort.open({ port, ...(address === undefined ? {} : { address }) })
      } catch (thrown) {
        if (!(thrown instanceof PlexusError) || thrown.code !== 'ADDRESS_IN_USE') throw thrown
      }
    }
    throw new PlexusError('ADDRESS_IN_USE', `All UDP ports from ${this.from} to ${this.to} are in use.`, {
      advice: 'Widen --port-range, or wait until a command has ended.',
    })
  }

  /** Keeps a port for a command that will bind it or has, until the returned function is called. */
  hold(port: number): () => void {
    this.#held.set(port, (this.#held.get(port) ?? 0) + 1)
    return () => {
      const count = (this.#held.get(port) ?? 0) - 1
      if (count > 0) this.#held.set(port, count)
      else this.#held.delete(port)
    }
  }
}
