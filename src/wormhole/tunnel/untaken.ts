import type { Clock } from '../../net/index.js'

/** What the peer opened waits this long for somebody who takes it, in ms. */
const PATIENCE = 60_000

/** So many are given up at a time. */
const A_SLICE = 64

/** What the peer opened while nobody takes it, with its header, each until its time is up. */
export class Untaken<Opened> {
  readonly #clock: Clock
  readonly #giveUp: (opened: Opened) => void
  readonly #waiting = new Map<Opened, { readonly header: Buffer; readonly since: number }>()
  #cancel: (() => void) | undefined

  /** @param giveUp ends what nobody took */
  constructor(clock: Clock, giveUp: (opened: Opened) => void) {
    this.#clock = clock
    this.#giveUp = giveUp
  }

  add(opened: Opened, header: Buffer): void {
    this.#waiting.set(opened, { header, since: this.#clock.now() })
    this.#watch()
  }

  /** It ended by itself. */
  delete(opened: Opened): void {
    this.#waiting.delete(opened)
  }

  /** Takes out all that waits, in the order in which it was opened. */
  takeAll(): (readonly [Opened, Buffer])[] {
    const all = [...this.#waiting].map(([opened, { header }]) => [opened, header] as const)
    this.#waiting.clear()
    this.#cancel?.()
    this.#cancel = undefined
    return all
  }

  /** One timer, for the one that waits longest. */
  #watch(): void {
    const [first] = this.#waiting.values()
    if (this.#cancel || !first) return
    const left = Math.max(1, first.since + PATIENCE - this.#clock.now())
    this.#cancel = this.#clock.timer(left, () => {
      this.#cancel = undefined
      let most = A_SLICE
      for (const [opened, { since }] of this.#waiting) {
        if (this.#clock.now() < since + PATIENCE || most-- === 0) break
        this.#waiting.delete(opened)
        this.#giveUp(opened)
      }
      this.#watch()
    })
  }
}
