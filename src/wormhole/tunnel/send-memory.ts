import { RETAINED_BUDGET, type RetainedBudget } from './send-half.js'
import type { TunnelMemory } from './tunnel-memory.js'

/** What is kept until it is acknowledged is drawn in steps of so many bytes: seldom, and not much more than is used. */
const STEP = 2 ** 20

/**
 * Bytes that the streams of a tunnel may hold on the way out beyond what each has for itself: what waits to be sent, and what was
 * sent and is kept. Drawn from the memory that the peer may use over all of its tunnels, when it is wanted; given back when it
 * is not. A peer that has had its share still sends, with little under way.
 */
export class SendMemory implements RetainedBudget {
  readonly #memory: TunnelMemory | undefined
  readonly #unsent: number
  /** What may still be kept of what is sent. */
  left = 0
  /** Drawn for that. */
  #drawn = 0
  #unsentState: 'none' | 'drawn' = 'none'

  /** @param unsent bytes that all streams together keep ready to be sent */
  constructor(unsent: number, memory?: TunnelMemory) {
    this.#memory = memory
    this.#unsent = unsent
    if (memory === undefined) this.left = RETAINED_BUDGET
  }

  /** How many bytes all streams together may keep ready to be sent. */
  get unsent(): number {
    return this.#memory === undefined || this.#unsentState === 'drawn' ? this.#unsent : 0
  }

  /** A stream begins. */
  begin(): void {
    if (this.#unsentState === 'none' && this.#memory?.draw(this.#unsent)) this.#unsentState = 'drawn'
  }

  /** Something is to be sent: draws more, as far as there is any. */
  refill(): void {
    if (this.left > STEP / 2 || this.#drawn >= RETAINED_BUDGET || !this.#memory?.draw(STEP)) return
    this.left += STEP
    this.#drawn += STEP
  }

  /** Something was acknowledged or given up: gives back what is no longer used. @param streams how many there still are */
  settle(streams: number): void {
    if (this.#memory === undefined) return
    const keep = streams === 0 ? 0 : STEP
    while (this.#drawn > 0 && this.left - STEP >= keep) {
      this.#memory.restore(STEP)
      this.left -= STEP
      this.#drawn -= STEP
    }
    if (streams > 0 || this.#unsentState === 'none') return
    this.#unsentState = 'none'
    this.#memory.restore(this.#unsent)
  }
}
