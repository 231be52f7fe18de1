import type { Clock } from '../net/index.js'
import type { Tunnel } from './tunnel/index.js'

/** What one read of a socket brings at most, in bytes (libuv). */
const READ = 64 * 1024

/** So much may be read of local connections, or be about to be, before the tunnel has taken it, in bytes. */
const MOST = 4 * 2 ** 20

/** Whoever reads and has nothing after so long, in ms, is idle: no room is kept for it. */
const IDLE_AFTER = 20

/** What the tunnel has not taken after so long, in ms, is for a reader that sleeps: it is not to hold up the others. */
const ASLEEP_AFTER = 500

/** A connection that brought this little at a time is never kept waiting: somebody types there, or it asks small questions. */
const SMALL = 4096

/** One local connection that is read for a tunnel. */
export interface Seat {
  /** Whether it may read now; if not, `next` is called when it may. */
  take(): boolean
  /** Nothing is there yet: what comes next is read by itself. */
  empty(): void
  /** So much was read. @param taken whether the tunnel takes more at once */
  full(bytes: number, taken: boolean): void
  /** The tunnel has taken it. */
  drained(): void
  /** It reads no more. */
  leave(): void
}

/** What a seat holds of the room, and until when, in ms. */
interface Held {
  bytes: number
  until: number
}

/**
 * What is read of all the local connections of a tunnel: a thousand that each have 64 KB ready would fill memory long
 * before the tunnel can send it. The system keeps what is not read yet.
 */
export class Intake {
  readonly #clock: Clock
  #held = 0
  /** Those who wait to read for the first time, and the others. */
  readonly #fresh = new Set<() => void>()
  readonly #waiting = new Set<() => void>()
  /** Those that hold something for a while. */
  readonly #timed = new Set<Held>()
  #timer: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Bytes that were read or may come at any moment. */
  get held(): number {
    return this.#held
  }

  /** @param next is called, once, after `take` said no */
  seat(next: () => void): Seat {
    const held: Held = { bytes: 0, until: 0 }
    let seen: 'fresh' | 'small' | 'large' = 'fresh'
    const queue = () => (seen === 'fresh' ? this.#fresh : this.#waiting)
    return {
      take: () => {
        if (held.bytes > 0 || seen === 'small') return true
        if (this.#held + READ > MOST) {
          queue().add(next)
          return false
        }
        this.#hold(held, READ)
        return true
      },
      empty: () => {
        if (held.bytes === 0) return
        this.#limit(held, IDLE_AFTER)
      },
      full: (bytes, taken) => {
        seen = bytes <= SMALL ? 'small' : 'large'
        this.#hold(held, taken ? 0 : bytes)
        if (!taken) this.#limit(held, ASLEEP_AFTER)
      },
      drained: () => this.#hold(held, 0),
      leave: () => {
        this.#fresh.delete(next)
        this.#waiting.delete(next)
        this.#hold(held, 0)
      },
    }
  }

  #hold(held: Held, bytes: number): void {
    this.#timed.delete(held)
    this.#held += bytes - held.bytes
    const less = bytes < held.bytes
    held.bytes = bytes
    if (less) this.#admit()
  }

  /** Calls those who wait, as long as there is room. */
  #admit(): void {
    while (this.#held + READ <= MOST) {
      const queue = this.#fresh.size > 0 ? this.#fresh : this.#waiting
      const [next] = queue
      if (!next) return
      queue.delete(next)
      next()
    }
  }

  /** Nothing is kept for it after so long, in ms. */
  #limit(held: Held, ms: number): void {
    held.until = this.#clock.now() + ms
    this.#timed.add(held)
    this.#watch()
  }

  #watch(): void {
    if (this.#timer || this.#timed.size === 0) return
    this.#timer = this.#clock.timer(IDLE_AFTER, () => {
      this.#timer = undefined
      const now = this.#clock.now()
      for (const held of [...this.#timed]) if (held.until <= now) this.#hold(held, 0)
      this.#watch()
    })
  }
}

const known = new WeakMap<Tunnel, Intake>()

/** The one of a tunnel. */
export function intakeOf(tunnel: Tunnel, clock: Clock): Intake {
  const intake = known.get(tunnel) ?? new Intake(clock)
  known.set(tunnel, intake)
  return intake
}
