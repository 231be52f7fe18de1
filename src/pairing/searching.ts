import type { Clock } from '../net/index.js'
import { SearchGate } from '../punch/index.js'
import type { PathMemory } from './path-memory.js'

/**
 * How many searches towards one peer may find nothing in a window, in ms: a peer that names somebody else's address
 * shall not have it probed for ever.
 */
const MAX_FRUITLESS = 4
const FRUITLESS_WINDOW = 10 * 60_000

/** What the searches of one process share. */
export class Searching {
  readonly gate = new SearchGate()
  readonly memory: PathMemory | undefined
  readonly #clock: Clock
  readonly #fruitless = new Map<string, number[]>()

  constructor(clock: Clock, memory?: PathMemory) {
    this.#clock = clock
    this.memory = memory
  }

  /** Whether a search towards this peer is allowed. */
  allows(peer: string): boolean {
    return this.#recent(peer).length < MAX_FRUITLESS
  }

  /**
   * A search towards this peer found nothing, or did: `found` when the very address that was searched has answered. What
   * was in vain before stays so, or a peer could have one address searched for the sake of another.
   */
  ended(peer: string, found: boolean): void {
    if (!found) this.#fruitless.set(peer, [...this.#recent(peer), this.#clock.now()])
  }

  #recent(peer: string): number[] {
    const now = this.#clock.now()
    return (this.#fruitless.get(peer) ?? []).filter((time) => now - time < FRUITLESS_WINDOW)
  }
}
