import { RangeSet } from './ranges.js'
import { INITIAL_WINDOW } from './receive-half.js'

interface Chunk {
  readonly offset: number
  data: Uint8Array
  /** Bytes of this chunk's own, with room behind `data` for more. */
  room?: Buffer
}

/**
 * What was sent is kept from the first byte that the peer has not acknowledged: so many bytes at most, and so many over all
 * streams of a tunnel beyond 32 KiB of each. A path holds less (`MAX_WINDOW` of the congestion control), so this bounds only
 * a peer that acknowledges everything but the first byte.
 */
export const RETAINED_MOST = 8 * 2 ** 20
export const RETAINED_BUDGET = 32 * 2 ** 20

/** With so many gaps in what was acknowledged nothing new is sent before the oldest are closed. */
const MOST_GAPS = 1024

/** Short pieces are put together up to this size: each costs more than a hundred bytes beside its own. */
const MERGED = 4096

/** What all streams of a tunnel draw on. */
export interface RetainedBudget {
  left: number
}

/** A piece of the stream that is to be sent, for the first time or again. */
export interface Piece {
  readonly offset: number
  readonly length: number
  readonly fin: boolean
}

/** What one side writes to a stream, kept until the peer acknowledged it. */
export class SendHalf {
  readonly #chunks: Chunk[] = []
  readonly #acked = new RangeSet()
  readonly #lost = new RangeSet()
  /** Everything below is acknowledged, everything from `#next` was never sent, `#end` was never written. */
  #base = 0
  #next = 0
  #end = 0
  #limit: number
  /** Drawn from the budget. */
  #drawn = 0
  readonly #budget: RetainedBudget
  #fin: 'open' | 'wanted' | 'sent' | 'acked' = 'open'

  /** @param limit the peer takes bytes below this offset */
  constructor(limit: number, budget: RetainedBudget = { left: RETAINED_BUDGET }) {
    this.#limit = limit
    this.#budget = budget
  }

  /** Bytes that were written and not sent yet. */
  get unsent(): number {
    return this.#end - this.#next
  }

  get ended(): boolean {
    return this.#fin !== 'open'
  }

  /** All of it arrived, the end too. */
  get done(): boolean {
    return this.#fin === 'acked' && this.#base === this.#end
  }

  /** True if there is something that may be sent now. */
  get ready(): boolean {
    return this.#lost.size > 0 || this.#next < this.#sendable || this.#finReady
  }

  /** True if it could send more, had other streams of the tunnel left some of the budget. */
  get starved(): boolean {
    return this.#budget.left <= 0 && this.#next < Math.min(this.#end, this.#limit, this.#base + RETAINED_MOST)
  }

  /** Bytes that were sent and are kept. */
  get retained(): number {
    return this.#next - this.#base
  }

  /** Takes bytes, without a copy where they are many: they must not change any more. */
  write(data: Uint8Array): void {
    if (data.length === 0) return
    const last = this.#chunks[this.#chunks.length - 1]
    if (last && last.data.length + data.length <= MERGED) merge(last, data)
    else this.#chunks.push({ offset: this.#end, data })
    this.#end += data.length
  }

  end(): void {
    if (this.#fin === 'open') this.#fin = 'wanted'
  }

  /** The peer takes bytes below `limit`. Returns true if that is more than before. */
  allow(limit: number): boolean {
    if (limit <= this.#limit) return false
    this.#limit = limit
    return true
  }

  /** The next piece, of at most `most` bytes: what was lost before what is new. It counts as sent. */
  take(most: number): Piece | undefined {
    if (this.#lost.size > 0) {
      const start = this.#lost.start(0)
      const end = Math.min(this.#lost.end(0), start + most)
      this.#lost.remove(start, end)
      return this.#piece(start, end)
    }
    const end = Math.min(this.#sendable, this.#next + most)
    if (end <= this.#next && !this.#finReady) return undefined
    const start = this.#next
    this.#next = Math.max(start, end)
    this.#draw()
    return this.#piece(start, this.#next)
  }

  /** Copies a piece to `target` at `at`. */
  copy(piece: Piece, target: Buffer, at: number): void {
    let { offset, length } = piece
    for (let index = this.#chunkAt(offset); length > 0; index++) {
      const chunk = this.#chunks[index] as Chunk
      const from = offset - chunk.offset
      const count = Math.min(length, chunk.data.length - from)
      target.set(
        from === 0 && count === chunk.data.length ? chunk.data : chunk.data.subarray(from, from + count),
        at,
      )
      at += count
      offset += count
      length -= count
    }
  }

  acked(piece: Piece): void {
    if (piece.fin) this.#fin = 'acked'
    this.#acked.add(piece.offset, piece.offset + piece.length)
    this.#lost.remove(piece.offset, piece.offset + piece.length)
    if (this.#acked.size === 0 || this.#acked.start(0) > this.#base) return
    this.#base = Math.max(this.#base, this.#acked.end(0))
    this.#acked.shift()
    this.#lost.remove(0, this.#base) // another copy of it was lost, which does not matter
    let count = 0
    for (const chunk of this.#chunks) {
      if (chunk.offset + chunk.data.length > this.#base) break
      count++
    }
    if (count > 0) this.#chunks.splice(0, count)
    this.#draw()
  }

  /** A piece is to be sent again. */
  lose(piece: Piece): void {
    if (piece.fin && this.#fin === 'sent') this.#fin = 'wanted'
    const start = Math.max(piece.offset, this.#base)
    this.#lost.add(start, Math.max(start, piece.offset + piece.length))
  }

  /** Forgets everything: the stream was reset. */
  discard(): void {
    this.#chunks.length = 0
    this.#lost.clear()
    this.#fin = 'acked'
    this.#base = this.#next = this.#end
    this.#draw()
  }

  /** Bytes below this offset may be sent now. */
  get #sendable(): number {
    if (this.#acked.size > MOST_GAPS) return this.#next
    const free = Math.max(this.#next, this.#base + INITIAL_WINDOW) + Math.max(0, this.#budget.left)
    return Math.min(this.#end, this.#limit, this.#base + RETAINED_MOST, free)
  }

  /** Draws on the budget for what is kept, or gives back. */
  #draw(): void {
    const drawn = Math.max(0, this.#next - this.#base - INITIAL_WINDOW)
    this.#budget.left -= drawn - this.#drawn
    this.#drawn = drawn
  }

  get #finReady(): boolean {
    return this.#fin === 'wanted' && this.#next === this.#end
  }

  #piece(start: number, end: number): Piece {
    const fin = this.#finReady && end === this.#end
    if (fin) this.#fin = 'sent'
    return { offset: start, length: end - start, fin }
  }

  /** The chunk that holds a byte. */
  #chunkAt(offset: number): number {
    let low = 0
    let high = this.#chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#chunks[middle] as Chunk).offset <= offset) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** Adds a short piece to a short chunk. */
function merge(chunk: Chunk, data: Uint8Array): void {
  const { length } = chunk.data
  if (!chunk.room) {
    chunk.room = Buffer.allocUnsafeSlow(MERGED)
    chunk.room.set(chunk.data)
  }
  chunk.room.set(data, length)
  chunk.data = chunk.room.subarray(0, length + data.length)
}
