import { discard, type Passage } from '../pairing/index.js'

/** How the passages end: not yet, or with all of them taken, or with an error. */
type End = { readonly state: 'open' } | { readonly state: 'ended'; readonly error: unknown }

/** Passages that are there and that nobody has taken yet. */
export class Backlog {
  readonly #waiting: Passage[] = []
  readonly #limit: number
  #end: End = { state: 'open' }
  #wake: () => void = () => {}

  /** @param limit how many passages it holds */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Whether one more fits, besides `underway` that are still to come. */
  hasRoom(underway: number): boolean {
    return this.#waiting.length + underway < this.#limit
  }

  /** Puts a passage in; one that comes too late is closed. */
  add(passage: Passage): void {
    if (this.#end.state === 'ended') {
      void discard(passage)
      return
    }
    this.#waiting.push(passage)
    this.#wake()
  }

  /** No more will come. @param error what `take` throws from now on */
  end(error?: unknown): void {
    if (this.#end.state === 'open') this.#end = { state: 'ended', error }
    this.#wake()
  }

  /** The next passage, the oldest first; undefined when no more will come. For one caller at a time. */
  async take(): Promise<Passage | undefined> {
    while (this.#end.state === 'open') {
      const passage = this.#waiting.shift()
      if (passage) return passage
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    if (this.#end.error !== undefined) throw this.#end.error
    return undefined
  }

  /** Closes what nobody has taken. */
  async close(): Promise<void> {
    this.end()
    await Promise.all(this.#waiting.splice(0).map(discard))
  }
}
