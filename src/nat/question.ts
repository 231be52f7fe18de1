import {
  type Due,
  type Endpoint,
  earliest,
  formatEndpoint,
  NEVER,
  type Random,
  sameEndpoint,
  scopeOf,
} from '../net/index.js'
import {
  type Attribute,
  BINDING,
  decodeAnswer,
  encode,
  find,
  isStun,
  type Message,
  mappedEndpoint,
  verifyFingerprint,
} from '../stun/index.js'

/**
 * When the requests of a question are sent, in ms after the first: three within the time in which nearly every server
 * answers, so that two lost packets cost no conclusion, and a few more for what is slow.
 */
const SCHEDULE: readonly number[] = [0, 100, 250, 550, 1100]

/** How long an answer is waited for, in ms after the first request. */
export const PATIENCE = 1900

/** Bytes of a transaction id: 96 bits (RFC 8489 section 5). */
const ID_LENGTH = 12

/** Which endpoint an answer is to come from, seen from the one that is asked (RFC 5780 section 7.2). */
export interface Change {
  readonly address: boolean
  readonly port: boolean
}

export type Answer =
  | { readonly is: 'waiting' }
  /** `mapped`: where the server saw the request come from. `rtt`: ms, reckoned from the latest request. */
  | {
      readonly is: 'answered'
      readonly mapped: Endpoint
      readonly other: Endpoint | undefined
      readonly rtt: number
    }
  /** An error response, or one from where it was not to come from. */
  | { readonly is: 'refused'; readonly why: string }
  | { readonly is: 'silent'; readonly requests: number }

/** What a question waits to do. */
export type QuestionWhy = 'ask again' | 'give up'
export type QuestionDue = Due<QuestionWhy>

/**
 * One Binding request of one socket to one server, repeated until it is answered; without socket or timer. Times are in ms.
 *
 * Its calls: `receive`, and `tick` when it is due, which gives the request to send; until `answer` is another one than waiting.
 */
export class Question {
  /** The number of the socket that asks. */
  readonly socket: number
  readonly to: Endpoint
  readonly change: Change | undefined
  readonly #from: Endpoint
  readonly #id: Buffer
  readonly #request: Buffer
  readonly #end: number
  readonly started: number
  #sent = 0
  #last: number
  #answer: Answer = { is: 'waiting' }
  /** What was wrong with an answer that could not be read: the next one may be better. */
  #odd: string | undefined

  /**
   * @param options.change what to ask for with CHANGE-REQUEST; then `from` is where the answer has to come from
   * @param options.patience ms; PATIENCE
   */
  constructor(
    socket: number,
    to: Endpoint,
    options: {
      readonly now: number
      readonly random: Random
      readonly change?: Change
      readonly from?: Endpoint
      readonly patience?: number
    },
  ) {
    const { now, random, change, from = to, patience = PATIENCE } = options
    this.socket = socket
    this.to = to
    this.change = change
    this.#from = from
    this.#id = random(ID_LENGTH)
    const attributes: Attribute[] = change ? [{ name: 'CHANGE-REQUEST', ...change }] : []
    this.#request = encode({ class: 'request', transaction: this.#id, attributes })
    this.started = now
    this.#last = now
    this.#end = now + patience
  }

  get answer(): Answer {
    return this.#answer
  }

  /** When it wants its next tick, and why; never when it is over. */
  get due(): QuestionDue {
    if (this.#answer.is !== 'waiting') return NEVER
    const next = SCHEDULE[this.#sent]
    return earliest<QuestionWhy>(
      { at: this.#end, why: 'give up' },
      next === undefined ? NEVER : { at: this.started + next, why: 'ask again' },
    )
  }

  /** The request, when one is due; gives up when its time is over. */
  tick(now: number): Buffer | undefined {
    if (this.#answer.is !== 'waiting') return undefined
    if (now >= this.#end) {
      this.giveUp()
      return undefined
    }
    const next = SCHEDULE[this.#sent]
    if (next === undefined || now < this.started + next) return undefined
    this.#sent++
    this.#last = now
    return this.#request
  }

  giveUp(): void {
    if (this.#answer.is !== 'waiting') return
    if (this.#odd === undefined) this.#answer = { is: 'silent', requests: this.#sent }
    else this.#refuse(`an answer that cannot be read: ${this.#odd}`)
  }

  /**
   * Takes a datagram of any kind from anybody; only a Binding response with this question's id, which nobody can guess
   * who has not seen the request, has an effect.
   */
  receive(now: number, data: Uint8Array, from: Endpoint): void {
    if (this.#answer.is !== 'waiting' || !isStun(data) || !this.#id.equals(data.subarray(8, 20))) return
    const message = parsed(data)
    if (typeof message === 'string') {
      if (sameEndpoint(from, this.#from)) this.#odd = message
      return
    }
    if (message.class === 'error') {
      const code = find(message, 'ERROR-CODE')?.code
      if (sameEndpoint(from, this.to)) this.#refuse(`error ${code ?? 'without a number'}`)
      return
    }
    if (!sameEndpoint(from, this.#from)) {
      // a server that knows no CHANGE-REQUEST, and should have refused it
      if (this.change && sameEndpoint(from, this.to))
        this.#refuse('an answer from the endpoint that was asked')
      return
    }
    const mapped = mappedEndpoint(message)
    if (!mapped || mapped.port === 0 || scopeOf(mapped.address) === 'unusable') {
      this.#refuse('an answer without an address')
      return
    }
    const other = (find(message, 'OTHER-ADDRESS') ?? find(message, 'CHANGED-ADDRESS'))?.endpoint
    this.#answer = { is: 'answered', mapped, other, rtt: now - this.#last }
  }

  #refuse(why: string): void {
    this.#answer = { is: 'refused', why }
  }
}

/** The Binding response, or what is wrong with it. */
function parsed(data: Uint8Array): Message | string {
  let message: Message
  try {
    message = decodeAnswer(data)
  } catch {
    return 'it is cut off'
  }
  if (message.method !== BINDING || (message.class !== 'success' && message.class !== 'error')) {
    return 'it is not a Binding response'
  }
  const [unknown] = message.unknownRequired
  if (unknown !== undefined)
    return `it needs the unknown attribute 0x${unknown.toString(16).padStart(4, '0')}`
  return message.seals.fingerprint && !verifyFingerprint(message) ? 'its FINGERPRINT is wrong' : message
}

/** Whether a server may send its client to that endpoint: another address, another port, and no other part of the network. */
export function isAlternate(server: Endpoint, other: Endpoint): boolean {
  return (
    other.port !== 0 &&
    other.port !== server.port &&
    other.address !== server.address &&
    other.address.includes(':') === server.address.includes(':') &&
    scopeOf(other.address) === scopeOf(server.address)
  )
}

/** What came of a question, in words. */
export function said(answer: Answer): string {
  switch (answer.is) {
    case 'answered':
      return `seen as ${formatEndpoint(answer.mapped)} after ${Math.round(answer.rtt)} ms`
    case 'refused':
      return `refused: ${answer.why}`
    case 'silent':
      return `no answer to ${answer.requests} request${answer.requests === 1 ? '' : 's'}`
    case 'waiting':
      return 'no answer yet'
  }
}
