import type { Clock } from '../net/index.js'

/**
 * How long a flow may be silent, in ms, before its socket and its number are given to others: longer than the pauses of DNS, QUIC
 * and games, shorter than the two minutes for which a NAT keeps a mapping (RFC 4787, REQ-5).
 */
const IDLE = 90_000

/** How many flows there are at a time, in each direction of a tunnel; beyond it the one that was silent longest ends. */
const MOST = 1024

interface Entry {
  used: number
  readonly close: () => void
}

/** Flows of datagrams, which nobody ends: each until it has been silent for IDLE, or others need its place. */
export class FlowTable<Key> {
  readonly #clock: Clock
  /** The one that was used last stands last. */
  readonly #entries = new Map<Key, Entry>()
  #cancel: (() => void) | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#entries.size
  }

  /** @param close is called once, when the flow has to end. @returns false if the table is closed: then it is not called */
  add(key: Key, close: () => void): boolean {
    if (this.#state === 'closed') return false
    this.#entries.set(key, { used: this.#clock.now(), close })
    if (this.#entries.size > MOST) {
      const [oldest] = this.#entries.keys()
      if (oldest !== undefined) this.end(oldest)
    }
    this.#watch()
    return true
  }

  /** The flow was used just now. */
  touch(key: Key): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    entry.used = this.#clock.now()
    this.#entries.delete(key)
    this.#entries.set(key, entry)
  }

  /** Ends a flow, if it is there. */
  end(key: Key): void {
    const entry = this.#entries.get(key)
    this.remove(key)
    entry?.close()
  }

  /** Forgets a flow that has ended. */
  remove(key: Key): void {
    this.#entries.delete(key)
    if (this.#entries.size === 0) this.#unwatch()
  }

  close(): void {
    this.#state = 'closed'
    for (const key of [...this.#entries.keys()]) this.end(key)
  }

  #watch(): void {
    const [oldest] = this.#entries.values()
    if (this.#cancel || oldest === undefined) return
    const left = Math.max(1, IDLE - (this.#clock.now() - oldest.used))
    this.#cancel = this.#clock.timer(left, () => {
      this.#cancel = undefined
      const now = this.#clock.now()
      for (const [key, { used }] of [...this.#entries]) {
        if (now - used < IDLE) break
        this.end(key)
      }
      this.#watch()
    })
  }

  #unwatch(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }
}
