import {
  type Endpoint,
  earliest,
  type Filtering,
  type Mapping,
  type Random,
  sameEndpoint,
} from '../net/index.js'
import { Question, type QuestionDue } from './question.js'
import type { Unasked } from './report.js'
import { FILTER, type Transmit } from './sockets.js'

/** What the test of a filter needs to know. */
export interface FilterSetup {
  readonly now: number
  readonly random: Random
  /** A server with two addresses and two ports, of which all four endpoints answer. */
  readonly server: Endpoint
  readonly other: Endpoint
  readonly mapping: Mapping
  /** How long an answer may take until it counts as filtered, in ms. */
  readonly wait: number
  /**
   * Not to have an unasked packet come from the server's own address where the NAT is known to cut off senders of such:
   * that server would be gone for the pairings of the next minutes.
   */
  readonly gentle: boolean
}

export interface FilterFinding {
  readonly filtering: Filtering
  readonly unasked: Unasked
  /** Why the filtering is unknown, or not certain. */
  readonly why?: string
}

type State =
  /** An answer from another address and port is asked for, and one from the server itself. */
  | { readonly is: 'address'; readonly control: Question; readonly changed: Question }
  /** The other address is asked itself, to see what the NAT made of its packet. */
  | { readonly is: 'sender'; readonly control: Question; readonly probe: Question }
  /** An answer from another port of the server's address is asked for. */
  | { readonly is: 'port'; readonly changed: Question; readonly unasked: Unasked }
  | { readonly is: 'over'; readonly finding: FilterFinding }

/**
 * Whose packets come in to a socket that has sent to one endpoint alone (RFC 5780 section 4.4), and what the NAT does
 * to those whose packets do not. Without socket or timer. Its calls: `tick` at once; then `receive`, and `tick` when it is
 * due, until there is a `finding`.
 */
export class FilterTest {
  readonly #setup: FilterSetup
  readonly #questions: Question[] = []
  #state: State

  constructor(setup: FilterSetup) {
    this.#setup = setup
    const { server, other } = setup
    this.#state = {
      is: 'address',
      control: this.#ask(setup.now, server, {}),
      changed: this.#ask(setup.now, server, { change: { address: true, port: true }, from: other }),
    }
  }

  get finding(): FilterFinding | undefined {
    return this.#state.is === 'over' ? this.#state.finding : undefined
  }

  /** What becomes of unasked packets, as soon as it is known; the filtering is later. */
  get unasked(): Unasked | undefined {
    if (this.#state.is === 'port') return this.#state.unasked
    return this.finding?.unasked
  }

  get questions(): readonly Question[] {
    return this.#questions
  }

  get due(): QuestionDue {
    return earliest(...this.#questions.map(({ due }) => due))
  }

  receive(now: number, socket: number, data: Uint8Array, from: Endpoint): void {
    if (socket !== FILTER || this.finding) return
    for (const question of this.#questions) question.receive(now, data, from)
  }

  /** Ends it with what is known by now. */
  giveUp(): void {
    if (!this.finding) this.#end('unknown', 'unknown', 'there was no time left')
  }

  tick(now: number): Transmit[] {
    const transmits: Transmit[] = []
    // a step may lead to the next at once, whose first requests are due
    for (let questions = -1; questions !== this.#questions.length; ) {
      questions = this.#questions.length
      for (const question of this.#questions) {
        const data = question.tick(now)
        if (data) transmits.push({ socket: FILTER, data, to: question.to })
      }
      this.#step(now)
    }
    return transmits
  }

  #step(now: number): void {
    const state = this.#state
    const { server, other, mapping, gentle } = this.#setup
    switch (state.is) {
      case 'address': {
        const { control, changed } = state
        const { answer } = changed
        if (answer.is === 'answered') this.#end('endpoint-independent', 'let in')
        else if (answer.is === 'refused') this.#end('unknown', 'unknown', noAnswer('address', answer.why))
        else if (answer.is === 'silent' && control.answer.is === 'answered')
          this.#state = { is: 'sender', control, probe: this.#ask(now, other, {}) }
        else if (answer.is === 'silent' && control.answer.is !== 'waiting')
          this.#end('unknown', 'unknown', 'the server fell silent')
        return
      }
      case 'sender': {
        const { control, probe } = state
        if (probe.answer.is === 'waiting' || control.answer.is !== 'answered') return
        let unasked: Unasked = 'dropped'
        if (probe.answer.is !== 'answered') unasked = 'cuts off the sender'
        else if (
          mapping === 'endpoint-independent' &&
          !sameEndpoint(probe.answer.mapped, control.answer.mapped)
        )
          unasked = 'moves the mapping'
        if (unasked === 'cuts off the sender' && gentle) {
          // what punishes the unasked is best taken for the strictest
          this.#end('address-and-port-dependent', unasked, 'assumed to be the strictest, to spare the server')
          return
        }
        const from = { address: server.address, port: other.port }
        const changed = this.#ask(now, server, { change: { address: false, port: true }, from })
        this.#state = { is: 'port', changed, unasked }
        return
      }
      case 'port': {
        const { unasked, changed } = state
        const { answer } = changed
        if (answer.is === 'answered') this.#end('address-dependent', unasked)
        else if (answer.is === 'silent') this.#end('address-and-port-dependent', unasked)
        else if (answer.is === 'refused') this.#end('unknown', unasked, noAnswer('port', answer.why))
        return
      }
      case 'over':
    }
  }

  #ask(now: number, to: Endpoint, options: { change?: Question['change']; from?: Endpoint }): Question {
    const { random, wait } = this.#setup
    const { change, from } = options
    const question = new Question(FILTER, to, {
      now,
      random,
      patience: wait,
      ...(change && from ? { change, from } : {}),
    })
    this.#questions.push(question)
    return question
  }

  #end(filtering: Filtering, unasked: Unasked, why?: string): void {
    for (const question of this.#questions) question.giveUp()
    this.#state = { is: 'over', finding: { filtering, unasked, ...(why === undefined ? {} : { why }) } }
  }
}

function noAnswer(part: string, why: string): string {
  return `the server does not answer from its other ${part} (${why})`
}
