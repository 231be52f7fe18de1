import { type PieceBudget, Reassembly } from './reassembly.js'

/** Every stream may send so much before it hears more: what a connection brings before it is known to be read. */
export const INITIAL_WINDOW = 32 * 1024

/** The widest window of one stream: 200 Mbit/s over 250 ms. */
export const MAX_WINDOW = 6 * 2 ** 20

/** What all streams together may have beyond their initial windows. It bounds what readers that sleep can hold. */
export const WINDOW_BUDGET = 32 * 2 ** 20

/** A window whose half was read within so many round trips, at least 10 ms, was too small. */
const FAST_ROUNDS = 4
const FAST_LEAST = 10

/** What all windows of a tunnel draw on. */
export interface WindowBudget extends PieceBudget {
  left: number
}

/** A frame that breaks what was agreed on: more than the window, or another end. Only a broken peer sends one. */
export class StreamViolation extends Error {}

/** Pieces that wait to be read are put together up to this size, so that many small ones cost little. */
const MERGED = 16 * 1024

/** What the peer writes to a stream, put in order, and held until it is read. */
export class ReceiveHalf {
  readonly #budget: WindowBudget
  /** What lies behind a gap, once there was one. */
  #behind: Reassembly | undefined
  /** In order and not read yet: what was copied, then what lies in datagrams. */
  readonly #owned: Buffer[] = []
  /** The whole buffer that the last of these has only the beginning of, if there is more of it. */
  #tail: Buffer | undefined
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
   * Takes a piece; `data` is only borrowed where it can be read at once.
   * @returns false if there is no room for it behind a gap: then it did not come
   * @throws StreamViolation
   */
  receive(offset: number, data: Buffer, fin: boolean): boolean {
    const end = offset + data.length
    if (end > this.#limit) throw new StreamViolation('more than the window of a stream')
    if (this.#end !== undefined && (end > this.#end || (fin && end !== this.#end))) {
      throw new StreamViolation('a stream with two ends')
    }
    if (fin && ((this.#behind?.end ?? 0) > end || end < this.#next)) {
      throw new StreamViolation('a stream that ends before its data')
    }
    if (offset > this.#next && data.length > 0) {
      this.#behind ??= new Reassembly(this.#budget)
      if (!this.#behind.put(offset, data)) return false
    }
    if (fin) this.#end = end
    if (end <= this.#next || offset > this.#next) return true
    const from = this.#next
    this.#append(offset < from ? data.subarray(from - offset) : data)
    this.#behind?.take(from, this.#next, (piece, whole) => this.#join(piece, whole))
    return true
  }

  /** Takes out the next bytes that can be read, as a piece of its own; undefined if there are none. */
  read(): Buffer | undefined {
    this.settle()
    const data = this.#owned.shift()
    if (this.#owned.length === 0) this.#tail = undefined
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
    let length = 0
    for (const piece of this.#borrowed) length += piece.length
    let at = this.#openTail(length)
    const tail = this.#tail as Buffer
    for (const piece of this.#borrowed) {
      tail.set(piece, at)
      at += piece.length
    }
    this.#borrowed = []
    this.#owned.push(tail.subarray(0, at))
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
    this.#behind?.discard()
    this.#behind = undefined
    this.#owned.length = 0
    this.#tail = undefined
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

  /** What a gap held back. Whole pages are handed on as they are. */
  #join(piece: Buffer, whole: boolean): void {
    this.#append(piece)
    if (!whole) return
    this.#borrowed.pop()
    this.settle()
    this.#owned.push(piece)
    this.#tail = undefined
  }

  /**
   * Makes room for so many bytes behind the last ones that were copied, or by themselves. Room doubles as it is filled, so
   * that bytes that come one by one are not copied time and again.
   * @returns where they go in the tail, which is to be pushed
   */
  #openTail(length: number): number {
    const last = this.#owned[this.#owned.length - 1]
    const before = last && this.#tail !== undefined && last.length + length <= MERGED ? last.length : 0
    if (before === 0 || !last) {
      this.#tail = room(length)
      return 0
    }
    this.#owned.pop()
    if (before + length <= (this.#tail as Buffer).length) return before
    const wanted = Math.max(before + length, 2 * before)
    this.#tail = room(wanted > MERGED / 4 ? MERGED : wanted)
    this.#tail.set(last)
    return before
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
