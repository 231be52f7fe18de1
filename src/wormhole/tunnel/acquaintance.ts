import type { Greeter } from './greeting.js'
import type { Greeted } from './handshake.js'

/** A responder that sends no frames yet is sent the confirmation again after this long, in ms, then in longer steps. */
const FIRST_REPEAT = 50
const REPEAT_GROWTH = 1.5
const LAST_REPEAT = 500

/**
 * A greeting of the peer while the tunnel is open: it may have been started again, and then it does not know the tunnel.
 * The peer is asked, and has this long to answer, in ms.
 */
const DOUBT = 3_000

/** What greetings still mean once the tunnel is open. */
export class Acquaintance {
  readonly #greeter: Greeter
  readonly #peer: Pick<Greeted, 'ephemeral' | 'time'>
  #confirmation: (() => Buffer) | undefined
  #repeat = FIRST_REPEAT
  /** When the confirmation is to be sent, in ms; Infinity once the peer has it. */
  confirmAt: number
  /** When it is over unless the peer is heard before, in ms; Infinity while nothing speaks against it. */
  doubtEnds = Number.POSITIVE_INFINITY

  /** @param confirmation what the peer has to be sent until it sends frames; it has all that it needs without it */
  constructor(greeter: Greeter, peer: Greeted, confirmation: (() => Buffer) | undefined, now: number) {
    const { ephemeral, time } = peer
    this.#greeter = greeter
    this.#peer = { ephemeral: Buffer.from(ephemeral), time }
    this.#confirmation = confirmation
    this.confirmAt = confirmation ? now : Number.POSITIVE_INFINITY
  }

  /** What is to be sent now, if anything is. */
  transmit(now: number): Buffer | undefined {
    if (!this.#confirmation || now < this.confirmAt) return undefined
    this.confirmAt = now + this.#repeat
    this.#repeat = Math.min(LAST_REPEAT, this.#repeat * REPEAT_GROWTH)
    return this.#confirmation()
  }

  /** Frames of the peer came. */
  heard(): void {
    this.doubtEnds = Number.POSITIVE_INFINITY
    this.confirmAt = Number.POSITIVE_INFINITY
    this.#confirmation = undefined
  }

  /** A greeting came, or what looks like one. Returns true if the peer is to be asked. */
  greeted(now: number, data: Buffer): boolean {
    if (this.doubtEnds !== Number.POSITIVE_INFINITY) return false
    const greeting = this.#greeter.open(data)
    if (!greeting || greeting.ephemeral.equals(this.#peer.ephemeral)) return false
    // one that was recorded earlier says so
    if (this.#peer.time !== 0 && greeting.time <= this.#peer.time) return false
    this.doubtEnds = now + DOUBT
    return true
  }
}
