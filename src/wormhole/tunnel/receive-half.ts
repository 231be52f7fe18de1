/** Every stream may send so much before it hears more: what a connection brings before it is known to be read. */
export const INITIAL_WINDOW = 32 * 1024

/** The widest window of one stream: 200 Mbit/s over 250 ms. */
export const MAX_WINDOW = 6 * 2 ** 20

/** What all streams together may have beyond their initial windows. It bounds what readers that sleep can hold. */
export const WINDOW_BUDGET = 32 * 2 ** 20

/** A window whose half was read within so many round trips, at least 10 ms, was too small. */
const FAST_ROUNDS = 4
const FAST_LEAST = 10

/** Pieces behind gaps that all streams together may hold: each costs some hundred bytes, however short it is. */
export const MAX_PIECES = 65_536

/** What a piece behind a gap costs beside its bytes, however short it is. */
const PIECE_COST = 384

/** Memory of the process, as far as this tunnel's peer may have it. */
export interface TunnelMemory {
  /** Takes so many bytes. False if the peer has had its share. */
  draw(bytes: number): boolean
  restore(bytes: number): void
  /** Something had to be refused for want of it. */
  short(): void
}

/** What all windows of a tunnel draw on. */
export interface WindowBudget {
  left: number
  /** Pieces behind gaps that may still come. */
  pieces: number
  /** What is counted over all tunnels of the peer; without it there is enough. */
  readonly memory?: TunnelMemory
}

/** There is no memory for a piece that has to be kept: its stream cannot go on. */
export class OutOfMemory extends Error {}

/** A frame that breaks what was agreed on: more than the window, or another end. Only a broken peer sends one. */
export class StreamViolation extends Error {}

/** Pieces that wait to be read are put together up to this size, so that many small ones cost little. */
const MERGED = 16 * 1024

interface Segment {
  readonly offset: number
  readonly data: Buffer
}

/** What the peer writes to a stream, put in order, and held until it is read. */
export class ReceiveHalf {
  readonly #budget: WindowBudget
  readonly #segments: Segment[] = []
  /** In order and not read yet: what was copied, then what lies in datagrams. */
  readonly #owned: Buffer[] = []
  #borrowed: Buffer[] = []
  #readyBytes = 0
  #next = 0
  #consumed = 0
  #window = INITIAL_WINDOW
  #limit = INITIAL_WINDOW
  #widenedAt = 0
  #end: number | undefined

  constructor(budget: WindowBudget) {
    this.#budget = budget
  }

  /** Bytes that can be read now. */
  get readable(): number {
    return this.#readyBytes
  }

  /** All of it came, the end too, and was read. */
  get done(): boolean {
    return this.#end !== undefined && this.#consumed === this.#end
  }

  /** All of it came, and nothing more will. */
  get complete(): boolean {
    return this.#end !== undefined && this.#next === this.#end
  }

  /** Everything below this offset came. */
  get next(): number {
    return this.#next
  }

  /** The peer may send bytes below this offset. */
  get limit(): number {
    return this.#limit
  }

  /**
   * Takes a piece; `data` is only borrowed where it cannot be read at once.
   * @throws StreamViolation, OutOfMemory
   */
  receive(offset: number, data: Buffer, fin: boolean): void {
    const end = offset + data.length
    if (end > this.#limit) throw new StreamViolation('more than the window of a stream')
    if (this.#end !== undefined && (end > this.#end || (fin && end !== this.#end))) {
      throw new StreamViolation('a stream with two ends')
    }
    if (fin) {
      if (this.#segments.some((segment) => segment.offset + segment.data.length > end) || end < this.#next) {
        throw new StreamViolation('a stream that ends before its data')
      }
      this.#end = end
    }
    if (end <= this.#next) return
    if (offset > this.#next) {
      this.#insert(offset, data)
      return
    }
    this.#append(offset < this.#next ? data.subarray(this.#next - offset) : data)
    this.#join()
  }

  /** Takes out the next bytes that can be read, as a piece of its own; undefined if there are none. */
  read(): Buffer | undefined {
    this.settle()
    const data = this.#owned.shift()
    if (data) {
      this.#readyBytes -= data.length
      this.#consumed += data.length
    }
    return data
  }

  /** Puts back what was read too far. */
  unread(data: Buffer): void {
    this.#owned.unshift(data)
    this.#readyBytes += data.length
    this.#consumed -= data.length
  }

  /**
   * What came and could not be read yet stops borrowing: a slice of a large buffer would hold all of it. To be called
   * before the next batch of datagrams.
   */
  settle(): void {
    if (this.#borrowed.length === 0) return
    const last = this.#owned[this.#owned.length - 1]
    let length = 0
    for (const piece of this.#borrowed) length += piece.length
    const pieces = this.#borrowed
    this.#borrowed = []
    if (last && last.length + length <= MERGED) {
      this.#owned.pop()
      pieces.unshift(last)
      length += last.length
    }
    const whole = room(length)
    let at = 0
    for (const piece of pieces) {
      whole.set(piece, at)
      at += piece.length
    }
    this.#owned.push(whole)
  }

  /**
   * The new limit that the peer should hear of, when half of the window was read; undefined when there is no need.
   * @param rtt in ms: the window doubles when it keeps the peer waiting
   */
  grant(now: number, rtt: number): number | undefined {
    if (this.#end !== undefined || this.#limit - this.#consumed > this.#window / 2) return undefined
    if (now - this.#widenedAt < Math.max(FAST_ROUNDS * rtt, FAST_LEAST)) this.#widen()
    this.#widenedAt = now
    this.#limit = this.#consumed + this.#window
    return this.#limit
  }

  /** Gives everything back, once. */
  discard(): void {
    this.#budget.left += this.#window - INITIAL_WINDOW
    this.#budget.memory?.restore(this.#window - INITIAL_WINDOW)
    this.#window = INITIAL_WINDOW
    this.#forgetPieces(this.#segments.length)
    this.#owned.length = 0
    this.#borrowed = []
    this.#readyBytes = 0
  }

  #widen(): void {
    const more = Math.min(this.#window, MAX_WINDOW - this.#window, this.#budget.left)
    if (more === 0 || this.#budget.memory?.draw(more) === false) return
    this.#window += more
    this.#budget.left -= more
  }

  #append(data: Buffer): void {
    this.#borrowed.push(data)
    this.#readyBytes += data.length
    this.#next += data.length
  }

  /** Keeps a piece behind a gap, without what is there already. */
  #insert(offset: number, data: Buffer): void {
    const segments = this.#segments
    let index = segments.length
    while (index > 0 && (segments[index - 1] as Segment).offset > offset) index--
    const before = segments[index - 1]
    let start = offset
    if (before) start = Math.max(start, before.offset + before.data.length)
    const end = offset + data.length
    while (start < end) {
      const after = segments[index]
      const stop = after ? Math.min(end, after.offset) : end
      if (stop > start) {
        if (this.#budget.pieces === 0) throw new StreamViolation('too many gaps')
        if (this.#budget.memory?.draw(PIECE_COST) === false) throw new OutOfMemory()
        this.#budget.pieces--
        // never of node's pool: a single byte would hold 8 KiB of it
        const copy = Buffer.allocUnsafeSlow(stop - start)
        copy.set(data.subarray(start - offset, stop - offset))
        segments.splice(index++, 0, { offset: start, data: copy })
      }
      if (!after) break
      start = after.offset + after.data.length
      index++
    }
  }

  /** Moves what the gap held back. */
  #join(): void {
    let count = 0
    for (const { offset, data } of this.#segments) {
      if (offset > this.#next) break
      count++
      if (offset + data.length > this.#next) this.#append(data.subarray(this.#next - offset))
    }
    this.#forgetPieces(count)
  }

  /** The first pieces are no longer kept. */
  #forgetPieces(count: number): void {
    if (count === 0) return
    this.#segments.splice(0, count)
    this.#budget.pieces += count
    this.#budget.memory?.restore(count * PIECE_COST)
  }
}

/**
 * Bytes for a piece, in few different sizes: thousands of buffers that come and go in every size leave the heap of the
 * process full of holes that nothing fits into. Small ones share the 8 KiB of node's pool.
 */
function room(length: number): Buffer {
  if (length <= MERGED / 4) return Buffer.allocUnsafe(length)
  return Buffer.allocUnsafeSlow(Math.ceil(length / MERGED) * MERGED).subarray(0, length)
}
