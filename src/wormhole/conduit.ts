import type { Share } from '../budget/index.js'
import { PlexusError } from '../errors/index.js'
import type { Clock } from '../net/index.js'
import type { Tunnel } from './tunnel/index.js'

/** How many local connections may wait for a tunnel at a time: each holds a descriptor. */
const MOST_WAITING = 1024

interface Waiting {
  readonly resolve: (tunnel: Tunnel) => void
  readonly reject: (reason: PlexusError) => void
}

/**
 * The way to one peer, whichever tunnel it is at the moment. Who wants to go through while there is none waits for the
 * next one, for a time.
 */
export class Conduit {
  /** What is done here with the peer counts as the peer's. */
  readonly share: Share
  readonly #clock: Clock
  readonly #wait: number
  /** The newest last: that one is used. */
  readonly #tunnels: Tunnel[] = []
  readonly #waiting = new Set<Waiting>()
  #ondemand: () => void = () => {}
  #closed: PlexusError | undefined

  /** @param options.wait how long a connection waits for a tunnel, in ms */
  constructor({ clock, wait, share }: { clock: Clock; wait: number; share: Share }) {
    this.share = share
    this.#clock = clock
    this.#wait = wait
  }

  /** The tunnel of the moment. */
  get tunnel(): Tunnel | undefined {
    return this.#tunnels.at(-1)
  }

  /** How many connections wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Calls back when somebody begins to wait. */
  set ondemand(callback: () => void) {
    this.#ondemand = callback
  }

  /** From now on, until the tunnel is over or the returned function is called, this tunnel is the way. */
  attach(tunnel: Tunnel): () => void {
    this.#tunnels.push(tunnel)
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const { resolve } of waiting) resolve(tunnel)
    const detach = () => {
      const at = this.#tunnels.indexOf(tunnel)
      if (at >= 0) this.#tunnels.splice(at, 1)
    }
    void tunnel.over.then(detach)
    return detach
  }

  /** Says that a tunnel is wanted, without waiting for it. */
  demand(): void {
    if (this.tunnel === undefined) this.#ondemand()
  }

  /**
   * The tunnel of the moment, or the next one.
   * @throws PlexusError TUNNEL_LOST if none came in time or too many wait already; the signal's reason
   */
  async through(signal: AbortSignal): Promise<Tunnel> {
    if (this.#closed) throw this.#closed
    const now = this.tunnel
    if (now) return now
    if (this.#waiting.size >= MOST_WAITING) {
      throw new PlexusError(
        'TUNNEL_LOST',
        `There is no tunnel, and ${MOST_WAITING} connections are already waiting for one.`,
      )
    }
    return await new Promise<Tunnel>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const settle = () => {
        cancel()
        signal.removeEventListener('abort', onabort)
        this.#waiting.delete(entry)
      }
      const entry: Waiting = {
        resolve: (tunnel) => {
          settle()
          resolve(tunnel)
        },
        reject: (reason) => {
          settle()
          reject(reason)
        },
      }
      const onabort = () => {
        settle()
        reject(signal.reason)
      }
      const cancel = this.#clock.timer(this.#wait, () =>
        entry.reject(
          new PlexusError('TUNNEL_LOST', `There was no tunnel for ${Math.round(this.#wait / 1000)} s.`),
        ),
      )
      signal.addEventListener('abort', onabort, { once: true })
      this.#waiting.add(entry)
      this.#ondemand()
    })
  }

  /** No more tunnels will come: who waits is told so. */
  close(reason: PlexusError): void {
    this.#closed = reason
    for (const { reject } of [...this.#waiting]) reject(reason)
  }
}
