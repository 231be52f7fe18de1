import { RangeSet } from './ranges.js'
import type { TunnelMemory } from './tunnel-memory.js'

/** Bytes behind gaps lie in pages of this size. */
export const PAGE = 16 * 1024

/** Ranges of one stream that may lie apart: more than any path brings about by itself. */
export const MAX_RANGES = 1024

/** Ranges behind gaps that all streams together may have; a page counts as so many. */
export const MAX_PIECES = 65_536
const PAGE_PIECES = 32

/** What all streams draw on for bytes behind gaps. */
export interface PieceBudget {
  /** Ranges that may still come. */
  pieces: number
  /** What is counted over all tunnels of the peer; without it there is enough. */
  readonly memory?: TunnelMemory
}

/**
 * Bytes of a stream that came before those in front of them: in pages, made as something falls into them, so that a piece costs
 * no more than its bytes, however short it is and in whatever order it comes.
 */
export class Reassembly {
  readonly #budget: PieceBudget
  readonly #pages = new Map<number, Buffer>()
  readonly #ranges = new RangeSet()

  constructor(budget: PieceBudget) {
    this.#budget = budget
  }

  get empty(): boolean {
    return this.#ranges.size === 0
  }

  /** Behind the last byte. */
  get end(): number {
    return this.empty ? 0 : this.#ranges.end(this.#ranges.size - 1)
  }

  /** Keeps a copy of a piece of at least one byte. @returns false if there is no room for it: nothing of it is kept */
  put(offset: number, data: Buffer): boolean {
    const end = offset + data.length
    const apart = !this.#ranges.meets(offset, end)
    if (apart && (this.#ranges.size >= MAX_RANGES || this.#budget.pieces < 1)) return false
    const first = Math.floor(offset / PAGE)
    const last = Math.floor((end - 1) / PAGE)
    for (let index = first; index <= last; index++) if (!this.#pageAt(index)) return false
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / PAGE)
      const stop = Math.min(end, (index + 1) * PAGE)
      this.#pageAt(index)?.set(data.subarray(at - offset, stop - offset), at - index * PAGE)
      at = stop
    }
    this.#change(() => this.#ranges.add(offset, end))
    return true
  }

  /**
   * Takes out what lies at `next`, and forgets what lies before it.
   * @param from everything below it was taken before
   * @param give takes each piece; `whole` ones are pages of their own, others lie in one that may hold more
   * @returns what comes next then
   */
  take(from: number, next: number, give: (piece: Buffer, whole: boolean) => void): number {
    if (this.#pages.size === 0) return next
    this.#change(() => this.#ranges.remove(0, next))
    let end = next
    if (!this.empty && this.#ranges.start(0) === next) {
      end = this.#ranges.end(0)
      this.#change(() => this.#ranges.shift())
    }
    for (let at = next; at < end; ) {
      const index = Math.floor(at / PAGE)
      const stop = Math.min(end, (index + 1) * PAGE)
      const piece = this.#pages.get(index)?.subarray(at - index * PAGE, stop - index * PAGE)
      if (piece) give(piece, piece.length === PAGE)
      at = stop
    }
    for (let index = Math.floor(from / PAGE); index < Math.floor(end / PAGE); index++) this.#free(index)
    if (this.empty) this.#free(Math.floor(end / PAGE))
    return end
  }

  /** Gives everything back. */
  discard(): void {
    for (const index of [...this.#pages.keys()]) this.#free(index)
    this.#change(() => this.#ranges.clear())
  }

  #pageAt(index: number): Buffer | undefined {
    const known = this.#pages.get(index)
    if (known) return known
    if (this.#budget.pieces < PAGE_PIECES || this.#budget.memory?.draw(PAGE) === false) return undefined
    this.#budget.pieces -= PAGE_PIECES
    const page = Buffer.allocUnsafeSlow(PAGE)
    this.#pages.set(index, page)
    return page
  }

  #free(index: number): void {
    if (!this.#pages.delete(index)) return
    this.#budget.pieces += PAGE_PIECES
    this.#budget.memory?.restore(PAGE)
  }

  #change(act: () => void): void {
    const before = this.#ranges.size
    act()
    this.#budget.pieces -= this.#ranges.size - before
  }
}
