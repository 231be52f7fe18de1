import {
  type Due,
  type Endpoint,
  formatEndpoint,
  NEVER,
  type Random,
  sameEndpoint,
  scopeOf,
} from '../net/index.js'
import { verifyFingerprint } from './integrity.js'
import {
  BINDING,
  decodeAnswer,
  encode,
  find,
  isStun,
  type Message,
  TRANSACTION_ID_LENGTH,
} from './message.js'

/**
 * The first retransmission comes after this many ms. RFC 8489 section 6.2.1 wants 500 where nothing is known of the
 * path; here a lost packet would then cost more than all the rest of a pairing. Few servers are further away than
 * 150 ms, and those get one request too many.
 */
export const INITIAL_RTO = 150
/** How many requests are sent, each after twice the wait of the one before (Rc, RFC 8489 section 6.2.1). */
export const MAX_REQUESTS = 7
/** How many initial RTOs are waited after the last request (Rm, the same). In all 79 RTO, 11.85 s. */
export const LAST_WAIT = 16

/** A datagram to send. */
export interface Transmit {
  readonly data: Buffer
  readonly to: Endpoint
}

/** Why a server gave no address. */
export type TransactionFailure =
  | { readonly kind: 'silent'; readonly requests: number }
  /** What came from the server with this transaction's id could not be read: `why` says why. */
  | { readonly kind: 'unreadable'; readonly why: string }
  /** An error response, as 420 Unknown Attribute or 300 Try Alternate. `reason` is the server's: untrusted text. */
  | {
      readonly kind: 'refused'
      readonly code: number
      readonly reason: string
      readonly unknown: readonly number[]
      readonly alternate: Endpoint | undefined
    }
  /** The answer has attributes that it may not be read without knowing (RFC 8489 section 6.3.3). */
  | { readonly kind: 'incomprehensible'; readonly types: readonly number[] }
  /** The answer names no address, or one that nobody can have. */
  | { readonly kind: 'bogus'; readonly endpoint: Endpoint | undefined }

export type TransactionState =
  | { readonly name: 'waiting' }
  /**
   * `endpoint`: the reflexive endpoint; `rtt`: ms from the first request to the answer, so an upper bound when
   * there were several.
   */
  | {
      readonly name: 'answered'
      readonly endpoint: Endpoint
      readonly rtt: number
      readonly message: Message
    }
  | { readonly name: 'failed'; readonly failure: TransactionFailure }

/**
 * One Binding transaction with one server (RFC 8489 sections 6.2.1 and 6.3), without socket or timer: it is told the
 * time and what came in, and says what to send and when it wants to be called next. All times are in ms.
 *
 * Its calls: `receive`, and `tick` when it is due, until `state` is another one than waiting; `transmits` after each, and once
 * at the start.
 */
export class Transaction {
  readonly server: Endpoint
  readonly #id: Buffer
  readonly #request: Buffer
  readonly #started: number
  #requests = 0
  #next: number
  #state: TransactionState = { name: 'waiting' }
  /** What was wrong with an answer that could not be read: the next one may be better. */
  #odd: string | undefined
  #transmits: Transmit[] = []

  constructor(server: Endpoint, random: Random, now: number) {
    this.server = server
    this.#id = Buffer.from(random(TRANSACTION_ID_LENGTH))
    // no attributes at all: the one request that every server since RFC 3489 understands
    this.#request = encode({ class: 'request', transaction: this.#id })
    this.#started = now
    this.#next = now
    this.tick(now)
  }

  get state(): TransactionState {
    return this.#state
  }

  /** When `tick` is wanted next, and why; never when it is over. */
  get due(): Due<'ask again' | 'give up'> {
    if (this.#state.name !== 'waiting') return NEVER
    return { at: this.#next, why: this.#requests === MAX_REQUESTS ? 'give up' : 'ask again' }
  }

  /** The datagrams to send now; each is given once. */
  transmits(): Transmit[] {
    const transmits = this.#transmits
    this.#transmits = []
    return transmits
  }

  /** Lets time pass: retransmits, or fails when the last wait is over. */
  tick(now: number): void {
    if (this.#state.name !== 'waiting' || now < this.#next) return
    if (this.#requests === MAX_REQUESTS) {
      this.giveUp()
      return
    }
    this.#transmits.push({ data: this.#request, to: this.server })
    const wait = this.#requests === MAX_REQUESTS - 1 ? LAST_WAIT : 2 ** this.#requests
    this.#requests++
    this.#next = now + wait * INITIAL_RTO
  }

  /** Ends it as silent before its time. */
  giveUp(): void {
    if (this.#state.name !== 'waiting') return
    if (this.#odd !== undefined) this.#fail({ kind: 'unreadable', why: this.#odd })
    else this.#fail({ kind: 'silent', requests: this.#requests })
  }

  /**
   * Takes a datagram of any kind from anybody. Only a Binding response with this transaction's id and from the very
   * endpoint that was asked has an effect; what is malformed, or has a wrong FINGERPRINT, is as if it never came.
   * @returns whether it was for this transaction
   */
  receive(now: number, data: Uint8Array, from: Endpoint): boolean {
    if (this.#state.name !== 'waiting' || !sameEndpoint(from, this.server) || !isStun(data)) return false
    if (!this.#id.equals(data.subarray(8, 20))) return false
    const message = parsed(data)
    if (!message) {
      this.#odd = 'it is cut off'
      return false
    }
    if (message.method !== BINDING || (message.class !== 'success' && message.class !== 'error')) {
      this.#odd = 'it is not a Binding response'
      return false
    }
    if (message.seals.fingerprint && !verifyFingerprint(message)) {
      this.#odd = 'its FINGERPRINT is wrong'
      return false
    }
    if (message.unknownRequired.length > 0) {
      this.#fail({ kind: 'incomprehensible', types: message.unknownRequired })
      return true
    }
    if (message.class === 'error') return this.#refuse(message)
    const endpoint = mappedEndpoint(message)
    if (!endpoint || endpoint.port === 0 || scopeOf(endpoint.address) === 'unusable') {
      this.#fail({ kind: 'bogus', endpoint })
      return true
    }
    this.#state = { name: 'answered', endpoint, rtt: now - this.#started, message }
    return true
  }

  #refuse(message: Message): boolean {
    const error = find(message, 'ERROR-CODE')
    if (!error) {
      this.#odd = 'it is an error without a code'
      return false
    }
    this.#fail({
      kind: 'refused',
      code: error.code,
      reason: error.reason,
      unknown: find(message, 'UNKNOWN-ATTRIBUTES')?.types ?? [],
      alternate: find(message, 'ALTERNATE-SERVER')?.endpoint,
    })
    return true
  }

  #fail(failure: TransactionFailure): void {
    this.#state = { name: 'failed', failure }
    this.#transmits = []
  }
}

/**
 * The reflexive endpoint in a Binding success response. MAPPED-ADDRESS, which some NATs rewrite, only when the server
 * speaks nothing newer than RFC 3489.
 */
export function mappedEndpoint(message: Message): Endpoint | undefined {
  return (find(message, 'XOR-MAPPED-ADDRESS') ?? find(message, 'MAPPED-ADDRESS'))?.endpoint
}

/** A failure in words, to follow the name of the server and a colon. */
export function describeFailure(failure: TransactionFailure): string {
  switch (failure.kind) {
    case 'silent':
      return failure.requests === 1 ? 'no answer to 1 request' : `no answer to ${failure.requests} requests`
    case 'unreadable':
      return `its answer cannot be read: ${failure.why}`
    case 'refused': {
      const reason = printable(failure.reason)
      const alternate = failure.alternate ? `, and names ${formatEndpoint(failure.alternate)} instead` : ''
      return `it answered with error ${failure.code}${reason ? ` (${reason})` : ''}${alternate}`
    }
    case 'incomprehensible':
      return `its answer needs unknown attributes (${failure.types.map((type) => `0x${type.toString(16)}`).join(', ')})`
    case 'bogus':
      return failure.endpoint
        ? `its answer names ${formatEndpoint(failure.endpoint)}, which cannot be`
        : 'its answer names no address'
  }
}

/** What a server wrote, as it may stand in a log: printable ASCII, at most 60 characters. */
function printable(text: string): string {
  return text
    .slice(0, 60)
    .replace(/[^\x20-\x7e]/g, '?')
    .trim()
}

function parsed(data: Uint8Array): Message | undefined {
  try {
    return decodeAnswer(data)
  } catch {
    return undefined
  }
}
