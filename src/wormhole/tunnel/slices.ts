import type { Clock } from '../../net/index.js'

/**
 * One peer works this long before the next one has its turn, in ms, and this long where nobody else has anything to do:
 * longer, and others wait; shorter, and the loop looks for news more often than it does anything.
 */
const SLICE = 1.5
const SLICE_ALONE = 4

/** Slices in one turn of the event loop: what comes for everybody else is looked at in between. */
const A_TURN = 4

/** What has something to do from time to time: one tunnel. */
export interface Worker {
  /**
   * Works until the time `until`, in ms of the clock, or until nothing is left.
   * @returns whether something is left
   */
  work(until: number): boolean
}

/** All the workers of one peer. */
interface Share {
  /** Time that it has had, in ms, as if it had always had something to do. */
  spent: number
  members: number
  readonly ready: Set<Worker>
}

/** The place of one worker. */
export interface Place {
  /** It has something to do. */
  wake(): void
  /** It will never have anything to do again. */
  leave(): void
}

/**
 * Time on the event loop, in equal shares for all peers that have something to do, however many tunnels each has and
 * whatever its datagrams cost: the one that has had least is next (start-time fair queueing, Goyal et al. 1996). Who did
 * nothing for a while has no claim to the time that was left, and who took longer than its slice pays for it later.
 */
export class Slices {
  readonly #clock: Clock
  readonly #next: (callback: () => void) => void
  readonly #after: (callback: () => void) => void
  readonly #shares = new Map<string | Worker, Share>()
  readonly #ready = new Set<Share>()
  /** What the one that was last served had had then. */
  #level = 0
  #scheduled = 0

  /**
   * @param next calls back in the next turn of the loop
   * @param after calls back when everything is done that the present callback has brought about
   */
  constructor(
    clock: Clock,
    next: (callback: () => void) => void = setImmediate,
    after: (callback: () => void) => void = process.nextTick,
  ) {
    this.#clock = clock
    this.#next = next
    this.#after = after
  }

  /** How many peers are remembered. */
  get size(): number {
    return this.#shares.size
  }

  /** @param whose the peer that the worker works for; without one it has a share of its own */
  join(worker: Worker, whose: string | undefined): Place {
    const key = whose ?? worker
    const share = this.#shares.get(key) ?? { spent: this.#level, members: 0, ready: new Set<Worker>() }
    this.#shares.set(key, share)
    share.members++
    let left = false
    return {
      wake: () => {
        if (left || share.ready.has(worker)) return
        share.ready.add(worker)
        this.#add(share)
      },
      leave: () => {
        if (left) return
        left = true
        share.ready.delete(worker)
        if (share.ready.size === 0) this.#ready.delete(share)
        if (--share.members === 0) this.#shares.delete(key)
      },
    }
  }

  #add(share: Share): void {
    if (this.#ready.has(share)) return
    share.spent = Math.max(share.spent, this.#level)
    this.#ready.add(share)
    this.#schedule()
  }

  #schedule(): void {
    for (; this.#scheduled < Math.min(A_TURN, this.#ready.size); this.#scheduled++)
      this.#next(() => this.#serve())
  }

  /** One slice, of whoever has had least. */
  #serve(): void {
    this.#scheduled--
    let share: Share | undefined
    for (const each of this.#ready) if (!share || each.spent < share.spent) share = each
    if (!share) return
    const served = share
    this.#ready.delete(served)
    this.#level = Math.max(this.#level, served.spent)
    const began = this.#clock.now()
    const until = began + (this.#ready.size > 0 ? SLICE : SLICE_ALONE)
    do {
      const [worker] = served.ready
      if (!worker) break
      served.ready.delete(worker)
      if (worker.work(until)) served.ready.add(worker)
    } while (this.#clock.now() < until)
    // what a stream hands on is handed on only then
    this.#after(() => {
      served.spent += this.#clock.now() - began
    })
    if (served.ready.size > 0) this.#ready.add(served)
    this.#schedule()
  }
}

const known = new WeakMap<Clock, Slices>()

/** One for each clock, and so for the process, as that has one loop. */
export function slicesOf(clock: Clock): Slices {
  const slices = known.get(clock) ?? new Slices(clock)
  known.set(clock, slices)
  return slices
}
