/** A set of integers as half-open ranges, sorted, none touching another: packet numbers, or bytes of a stream. */
export class RangeSet {
  /** start, end, start, end … */
  readonly #edges: number[] = []

  /** How many ranges there are. */
  get size(): number {
    return this.#edges.length / 2
  }

  start(index: number): number {
    return this.#edges[2 * index] as number
  }

  /** The first integer behind the range. */
  end(index: number): number {
    return this.#edges[2 * index + 1] as number
  }

  /** Adds `start` up to, without, `end`. */
  add(start: number, end: number): void {
    if (start >= end) return
    const edges = this.#edges
    const last = edges.length - 1
    // what comes in order only makes the last range longer
    if (last < 0 || start > (edges[last] as number)) {
      edges.push(start, end)
      return
    }
    if (start === edges[last]) {
      edges[last] = end
      return
    }
    let from = this.#above(start - 1)
    if (from % 2 === 1) from--
    let to = this.#above(end)
    if (to % 2 === 1) to++
    const first = from < to ? Math.min(start, edges[from] as number) : start
    const final = from < to ? Math.max(end, edges[to - 1] as number) : end
    edges.splice(from, to - from, first, final)
  }

  /** Removes `start` up to, without, `end`. */
  remove(start: number, end: number): void {
    if (start >= end || this.#edges.length === 0) return
    const from = this.#above(start - 1)
    const to = this.#above(end)
    const left: number[] = []
    if (from % 2 === 1) left.push(start)
    if (to % 2 === 1) left.push(end)
    this.#edges.splice(from, to - from, ...left)
  }

  /** Whether any range overlaps `start` up to, without, `end`, or touches it. */
  meets(start: number, end: number): boolean {
    const from = this.#above(start - 1)
    return from % 2 === 1 || (from < this.#edges.length && (this.#edges[from] as number) <= end)
  }

  has(value: number): boolean {
    return this.#above(value) % 2 === 1
  }

  /** Forgets the lowest range. */
  shift(): void {
    this.#edges.splice(0, 2)
  }

  clear(): void {
    this.#edges.length = 0
  }

  /** The index of the first edge above a value. */
  #above(value: number): number {
    const edges = this.#edges
    let low = 0
    let high = edges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((edges[middle] as number) > value) high = middle
      else low = middle + 1
    }
    return low
  }
}
