/**
 * Bursts of at most this long at the present rate, in ms: timers wake us each millisecond, or a little later. On a busy
 * machine they wake us much later: a burst is then as long as that, or what was not sent meanwhile never would be.
 */
const BURST = 3
/** How late a process may be and still catch up, in ms. */
export const MAX_LATENESS = 50
/** How fast lateness is forgotten: half of it in this many ms. */
const LATENESS_HALF_LIFE = 500

/** Spreads what is sent over the time: tokens come in at a rate, and a datagram may go while there are any. Times in ms. */
export class Pacer {
  /** Bytes that may go at once; below zero while the last datagram is not paid for. */
  #tokens: number
  #at = 0
  /** When the next datagram may go, as the driver was told, and how late it was of late when it had been. */
  #dueAt = Number.POSITIVE_INFINITY
  #lateness = 0
  #latenessAt = 0

  constructor(tokens: number) {
    this.#tokens = tokens
  }

  /** @param pace bytes per ms; @param least bytes that may go in one burst however slow the pace is */
  admits(now: number, pace: number, least: number): boolean {
    this.#refill(now, pace, least)
    if (this.#tokens >= 0) return true
    this.#dueAt = now - this.#tokens / pace
    return false
  }

  /** When the next datagram may go, in ms. */
  nextAt(now: number, pace: number, least: number): number {
    this.#refill(now, pace, least)
    return this.#tokens >= 0 ? now : now - this.#tokens / pace
  }

  spend(now: number, size: number, pace: number, least: number): void {
    this.#refill(now, pace, least)
    this.#tokens -= size
  }

  reset(now: number, tokens: number): void {
    this.#tokens = tokens
    this.#at = now
  }

  #refill(now: number, pace: number, least: number): void {
    if (now <= this.#at) return
    if (now > this.#dueAt) this.#late(now, now - this.#dueAt)
    this.#dueAt = Number.POSITIVE_INFINITY
    const left = this.#lateness === 0 ? 0 : this.#latenessLeft(now)
    this.#tokens = Math.min(Math.max(least, pace * (BURST + left)), this.#tokens + (now - this.#at) * pace)
    this.#at = now
  }

  /** We were woken this late although something waited for the pacing. */
  #late(now: number, ms: number): void {
    this.#lateness = Math.min(MAX_LATENESS, Math.max(ms, this.#latenessLeft(now)))
    this.#latenessAt = now
  }

  #latenessLeft(now: number): number {
    return this.#lateness * 0.5 ** ((now - this.#latenessAt) / LATENESS_HALF_LIFE)
  }
}
