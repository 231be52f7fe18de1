import type { Random } from '../../net/index.js'
import { GENERATION, LAST_PACKET } from './cipher.js'

/** Keys change at least this often, in ms; a forger has no more tries with one than ChaCha20-Poly1305 bears (2^36). */
const GENERATION_TIME = 3_600_000

/**
 * Of so many numbers one is skipped, at random: whoever acknowledges what it did not get, so that more is sent than the
 * path takes, cannot know which one that is (RFC 9000 section 21.4).
 */
const SKIP_WITHIN = 128

/** So many gaps are remembered: those of some thousand packets, which is more than is ever under way and matters. */
const REMEMBERED = 512

/** A range of packet numbers, the higher end first, both ends included. */
export type PacketRange = readonly [high: number, low: number]

/** The numbers of one side's packets: ascending, each used once, and some never. */
export class PacketNumbers {
  /** The number that comes next; none above it was used. */
  next = 0
  /** When the keys are too old. */
  #changeAt: number
  #skipAt: number
  /** Numbers that were never used, ascending. */
  readonly #skipped: PacketRange[] = []
  readonly #random: Random

  constructor(random: Random, now: number) {
    this.#random = random
    this.#changeAt = now + GENERATION_TIME
    this.#skipAt = this.#draw()
  }

  /** False once every number was used. */
  get usable(): boolean {
    return this.next < LAST_PACKET - SKIP_WITHIN
  }

  /** The keys are new, and others take their place before that time, in ms. */
  renewed(until: number): void {
    this.#changeAt = until
  }

  /** The number of a packet that is sent now. Where the keys are an hour old it is the first of a new generation of them. */
  take(now: number): number {
    if (now > this.#changeAt) {
      this.#changeAt = now + GENERATION_TIME
      this.#skip((Math.floor(this.next / GENERATION) + 1) * GENERATION)
    } else if (this.next % GENERATION === 0) this.#changeAt = Math.max(this.#changeAt, now + GENERATION_TIME)
    else if (this.next >= this.#skipAt) this.#skip(this.next + 1)
    return this.next++
  }

  /** Whether such an acknowledgement is a lie: it holds a number that was never used. @param ranges descending */
  lied(ranges: readonly PacketRange[]): boolean {
    const [first] = ranges
    if (first && first[0] >= this.next) return true
    let place = this.#skipped.length - 1
    for (const [high, low] of ranges) {
      while (place >= 0 && (this.#skipped[place] as PacketRange)[1] > high) place--
      const gap = this.#skipped[place]
      if (!gap) return false
      if (gap[0] >= low) return true
    }
    return false
  }

  #skip(to: number): void {
    this.#skipped.push([to - 1, this.next])
    if (this.#skipped.length > REMEMBERED) this.#skipped.splice(0, REMEMBERED / 2)
    this.next = to
    this.#skipAt = to + this.#draw()
  }

  #draw(): number {
    return 1 + (this.#random(2).readUInt16BE() % SKIP_WITHIN)
  }
}
