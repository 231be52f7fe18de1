import { type Due, type Endpoint, earliest, NEVER, type Random } from '../net/index.js'
import { encode } from '../stun/index.js'
import { FIRST_SAMPLE, type Transmit } from './sockets.js'

/** When they are sent, in ms after the first: both sockets send, so that a filter that wants that lets the later ones in. */
const SCHEDULE: readonly number[] = [0, 60, 150, 300]

/** Bytes of a transaction id. */
const ID_LENGTH = 12

/**
 * Whether two sockets of this machine reach each other at their outside endpoints (RFC 4787 section 6): each sends Binding
 * indications, which nobody answers, to where a server saw the other. Without socket or timer.
 *
 * Its calls: `tick` at once; then `receive`, and `tick` when it is due, until `state` is another one than waiting.
 */
export class HairpinTest {
  readonly sockets: readonly [number, number] = [FIRST_SAMPLE, FIRST_SAMPLE + 1]
  readonly #targets: readonly [Endpoint, Endpoint]
  readonly #marks: readonly [Buffer, Buffer]
  readonly #started: number
  readonly #end: number
  #sent = 0
  #state: 'waiting' | 'heard' | 'not heard' = 'waiting'

  /** @param outside where the two sockets were seen @param wait ms until what has not come will not come */
  constructor(
    outside: readonly [Endpoint, Endpoint],
    { now, random, wait }: { now: number; random: Random; wait: number },
  ) {
    this.#targets = [outside[1], outside[0]]
    const mark = () => encode({ class: 'indication', transaction: random(ID_LENGTH) })
    this.#marks = [mark(), mark()]
    this.#started = now
    this.#end = now + wait
  }

  get state(): 'waiting' | 'heard' | 'not heard' {
    return this.#state
  }

  get targets(): readonly [Endpoint, Endpoint] {
    return this.#targets
  }

  get due(): Due<'send' | 'give up'> {
    if (this.#state !== 'waiting') return NEVER
    const next = SCHEDULE[this.#sent]
    return earliest<'send' | 'give up'>(
      { at: this.#end, why: 'give up' },
      next === undefined ? NEVER : { at: this.#started + next, why: 'send' },
    )
  }

  receive(socket: number, data: Uint8Array): void {
    if (this.#state !== 'waiting') return
    // what the one sent has to come to the other
    const [mine, theirs] = this.sockets
    const expected = socket === mine ? this.#marks[1] : socket === theirs ? this.#marks[0] : undefined
    if (expected?.equals(data)) this.#state = 'heard'
  }

  giveUp(): void {
    if (this.#state === 'waiting') this.#state = 'not heard'
  }

  tick(now: number): Transmit[] {
    if (this.#state !== 'waiting') return []
    if (now >= this.#end) {
      this.giveUp()
      return []
    }
    const next = SCHEDULE[this.#sent]
    if (next === undefined || now < this.#started + next) return []
    this.#sent++
    return this.sockets.map((socket, index) => ({
      socket,
      data: this.#marks[index === 0 ? 0 : 1],
      to: this.#targets[index === 0 ? 0 : 1],
    }))
  }
}
