import { type Due, type Endpoint, earliest, type Random } from '../net/index.js'
import { Question, type QuestionWhy } from './question.js'
import { FIRST_HOP, HOPS, type Transmit } from './sockets.js'

/** Bytes of a datagram that dies on the way, or comes to a STUN server as noise. */
const NOISE_LENGTH = 8

/** When they are sent, in ms after the first. */
const OPENINGS: readonly number[] = [0, 80]

/** How long after the last of them the answers are asked for, in ms: they have to be at the NAT by then. */
const HEAD_START = 60

/**
 * How many routers away the outermost NAT or firewall is that filters by the sender: of several sockets each sends to the
 * server's other address with another TTL, and then asks for an answer from there. It comes in to those whose packet lived
 * long enough to reach every filter. So it tells a second NAT behind the local router, and the TTL that an opening packet
 * needs. Works where the mapping is endpoint-independent. Without socket or timer.
 *
 * Its calls: `tick` at once; then `receive`, and `tick` when it is due, until it is `over`.
 */
export class HopTest {
  readonly #other: Endpoint
  readonly #noise: Buffer
  readonly #started: number
  readonly #server: Endpoint
  readonly #random: Random
  readonly #wait: number
  #opened = 0
  #questions: Question[] = []

  /** @param options.wait how long an answer may take, in ms */
  constructor(
    server: Endpoint,
    other: Endpoint,
    { now, random, wait }: { now: number; random: Random; wait: number },
  ) {
    this.#server = server
    this.#other = other
    this.#started = now
    this.#random = random
    this.#noise = random(NOISE_LENGTH)
    // never to be taken for STUN, whose first two bits are zero
    this.#noise[0] = 0xff
    this.#wait = wait
  }

  get questions(): readonly Question[] {
    return this.#questions
  }

  get over(): boolean {
    return this.#questions.length > 0 && this.#questions.every(({ answer }) => answer.is !== 'waiting')
  }

  /** The number of routers to the outermost filter, 1 for the next one; undefined when it is further away than was tried. */
  get hops(): number | undefined {
    const passed = this.#questions.findIndex(({ answer }) => answer.is === 'answered')
    return passed < 0 ? undefined : passed + 1
  }

  get due(): Due<QuestionWhy | 'open' | 'ask'> {
    if (this.#questions.length > 0) return earliest(...this.#questions.map(({ due }) => due))
    const next = OPENINGS[this.#opened]
    if (next !== undefined) return { at: this.#started + next, why: 'open' }
    return { at: this.#started + (OPENINGS.at(-1) ?? 0) + HEAD_START, why: 'ask' }
  }

  receive(now: number, socket: number, data: Uint8Array, from: Endpoint): void {
    for (const question of this.#questions) {
      if (question.socket === socket) question.receive(now, data, from)
    }
  }

  giveUp(): void {
    for (const question of this.#questions) question.giveUp()
  }

  tick(now: number): Transmit[] {
    const transmits: Transmit[] = []
    const next = OPENINGS[this.#opened]
    if (next !== undefined && now >= this.#started + next) {
      this.#opened++
      for (let hop = 1; hop <= HOPS; hop++) {
        // a router takes one off and forwards what is left: n routers are passed with n + 1
        transmits.push({ socket: FIRST_HOP + hop - 1, data: this.#noise, to: this.#other, ttl: hop + 1 })
      }
    }
    if (this.#questions.length === 0 && this.#opened === OPENINGS.length && now >= this.due.at) {
      const change = { address: true, port: true }
      const options = { now, random: this.#random, change, from: this.#other, patience: this.#wait }
      this.#questions = Array.from(
        { length: HOPS },
        (_, index) => new Question(FIRST_HOP + index, this.#server, options),
      )
    }
    for (const question of this.#questions) {
      const data = question.tick(now)
      if (data) transmits.push({ socket: question.socket, data, to: question.to })
    }
    return transmits
  }
}
