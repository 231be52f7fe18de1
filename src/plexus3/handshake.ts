import { type Due, type Endpoint, earliest, NEVER, type Random, sameEndpoint } from '../net/index.js'
import { type Flag, readDatagram, writeDatagram } from './datagram.js'

/** How often the inviter calls, in ms: a peer's own calls come every 1600. */
const CALL_INTERVAL = 200
/** How often the accepter opens its NAT again while it hears nothing, in ms: the first packet may have been lost. */
const OPEN_INTERVAL = 1_000
/**
 * The inviter's last flag is the one datagram that nobody asks for again when it is lost: eight of them are all lost
 * in one of 400,000 pairings at 20% loss. They are over within 210 ms, before the peer's command can mind them much.
 */
const LAST_COUNT = 8
const LAST_GAP = 30
/** How long the inviter still answers a peer that says its own last flag again, in ms. */
const LINGER = 400
/** The least time between two answers, in ms: whoever calls more often shall not have more sent to where it says it is. */
const ANSWER_GAP = 100
/** How often the accepter says its answer again, in ms, while it waits for the inviter's last flag. */
const ANSWER_INTERVAL = 500
/**
 * A plexus 3.x inviter says its last flag once. When it was answered, ten times by then, and has been silent for three
 * of its own intervals of 1600 ms, it has the answer, and its last flag was lost.
 */
const SILENCE = 5_000

export interface HandshakeOptions {
  readonly role: 'inviter' | 'accepter'
  /** 64 bits: the two puzzles, XORed. */
  readonly secret: bigint
  /** The public endpoint that the peer told: datagrams from anywhere else do not count. */
  readonly peer: Endpoint
  /** TTL of the accepter's opening datagrams, in hops; 0 sends them at full TTL. */
  readonly hops: number
  /** When it is given up, in ms from the start: a plexus 3.x peer waits 60 000. */
  readonly timeout: number
  readonly random: Random
}

/**
 * ```
 * inviter   calling ─► finishing ─► succeeded
 * accepter  opening ─► answering ─► succeeded
 * both      … ─► failed when the time is up
 * ```
 */
export type HandshakeState =
  /** Inviter: says flag 0 until it hears flag 1. */
  | { readonly name: 'calling'; readonly next: number }
  /** Accepter: opens its NAT, and has heard nothing. */
  | { readonly name: 'opening'; readonly next: number }
  /** Accepter: has answered flag 0 with flag 1, and waits for flag 1 until `silent`. */
  | { readonly name: 'answering'; readonly next: number; readonly silent: number }
  /** Inviter: has heard flag 1 and repeats its own. */
  | Finishing
  /** `acknowledged`: accepter: false if the inviter's last flag was not heard, but followed from its silence. */
  | { readonly name: 'succeeded'; readonly acknowledged: boolean }
  /** `heard`: whether anything valid came from the peer. */
  | { readonly name: 'failed'; readonly heard: boolean }

/** What a side waits to do. */
type HandshakeWhy =
  | 'call'
  | 'open'
  | 'answer'
  | 'take silence for an answer'
  | 'repeat the last word'
  | 'succeed'
  | 'give up'

interface Finishing {
  readonly name: 'finishing'
  readonly left: number
  readonly next: number
  readonly end: number
}

/** A datagram to send to the peer. */
export interface HandshakeTransmit {
  readonly data: Buffer
  readonly to: Endpoint
  /** In hops; without it the system's default. */
  readonly ttl?: number
  /** For the log. */
  readonly flag: Flag
}

/**
 * One side of the handshake with a plexus 3.x peer, without I/O and without a clock: it is given datagrams, ticks and
 * the time, and gives back datagrams, the names of the states that it has gone through and the time of its next tick.
 * Times are in ms on one monotonic clock.
 *
 * Its calls: `tick` once at the start, then `receive`, and `tick` when it is due; after each of them `transmits`, `events`,
 * `state` and `due`.
 *
 * As accepter it is not content with the first valid datagram, as a 3.3 peer is.
 */
export class Handshake {
  readonly #options: HandshakeOptions
  readonly #timeout: number
  #state: HandshakeState
  #heard: 'nothing' | 'peer' = 'nothing'
  /** When flag 1 was last said as an accepter. */
  #answered = Number.NEGATIVE_INFINITY
  #transmits: HandshakeTransmit[] = []
  #events: HandshakeState['name'][] = []

  constructor(options: HandshakeOptions, now: number) {
    this.#options = options
    this.#timeout = now + options.timeout
    this.#state = { name: options.role === 'inviter' ? 'calling' : 'opening', next: now }
  }

  get state(): HandshakeState {
    return this.#state
  }

  /** @returns true if it was a datagram of the peer; it is for somebody else if not */
  receive(now: number, data: Uint8Array, from: Endpoint): boolean {
    if (!sameEndpoint(from, this.#options.peer)) return false
    const flag = readDatagram(data, this.#options.secret)
    if (flag === undefined) return false
    this.tick(now)
    this.#heard = 'peer'
    if (this.#options.role === 'inviter') this.#inviterHears(now, flag)
    else this.#accepterHears(now, flag)
    return true
  }

  /** Does what is due. It may come late, or too early. */
  tick(now: number): void {
    const state = this.#state
    if (state.name === 'answering' && now >= state.silent) {
      this.#enter({ name: 'succeeded', acknowledged: false })
    } else if (state.name === 'finishing') {
      this.#finish(now, state)
    } else if (state.name !== 'succeeded' && state.name !== 'failed' && now >= this.#timeout) {
      this.#enter({ name: 'failed', heard: this.#heard === 'peer' })
    } else if (state.name === 'answering' && now >= state.next) {
      this.#send(1)
      this.#answered = now
      this.#enter({ ...state, next: now + ANSWER_INTERVAL })
    } else if (state.name === 'calling' && now >= state.next) {
      this.#send(0)
      this.#enter({ name: 'calling', next: now + CALL_INTERVAL })
    } else if (state.name === 'opening' && now >= state.next) {
      this.#send(0, this.#options.hops)
      this.#enter({ name: 'opening', next: now + OPEN_INTERVAL })
    }
  }

  /** The datagrams to send now, in order. Each is given out once. */
  transmits(): HandshakeTransmit[] {
    const transmits = this.#transmits
    this.#transmits = []
    return transmits
  }

  /** The states that were entered since the last call. */
  events(): HandshakeState['name'][] {
    const events = this.#events
    this.#events = []
    return events
  }

  /** When the next tick is wanted, and why; never when it is over. */
  get due(): Due<HandshakeWhy> {
    const state = this.#state
    const giveUp = { at: this.#timeout, why: 'give up' } as const
    switch (state.name) {
      case 'calling':
        return earliest<HandshakeWhy>({ at: state.next, why: 'call' }, giveUp)
      case 'opening':
        return earliest<HandshakeWhy>({ at: state.next, why: 'open' }, giveUp)
      case 'answering':
        return earliest<HandshakeWhy>(
          { at: state.next, why: 'answer' },
          { at: state.silent, why: 'take silence for an answer' },
          giveUp,
        )
      case 'finishing': {
        const end = { at: state.end, why: 'succeed' } as const
        return state.left > 0
          ? earliest<HandshakeWhy>({ at: state.next, why: 'repeat the last word' }, end)
          : end
      }
      default:
        return NEVER
    }
  }

  /** On flag 1 it says flag 1 and is done. A flag 0 says only that the accepter opens its NAT. */
  #inviterHears(now: number, flag: Flag): void {
    if (flag === 0) return
    if (this.#state.name === 'calling') {
      this.#enter({ name: 'finishing', left: LAST_COUNT, next: now, end: now + LINGER })
    } else if (this.#state.name === 'finishing' && this.#state.left === 0) {
      this.#enter({ ...this.#state, left: 1 })
    }
  }

  /** Flag 0 is answered with flag 1, by the next tick; on flag 1 it is done. */
  #accepterHears(now: number, flag: Flag): void {
    const { name } = this.#state
    if (flag === 0 && (name === 'opening' || name === 'answering')) {
      const next = Math.max(now, this.#answered + ANSWER_GAP)
      this.#enter({ name: 'answering', next, silent: now + SILENCE })
    } else if (name === 'answering' && this.#answered > Number.NEGATIVE_INFINITY) {
      // no inviter can have heard a flag 1 before one was sent: without that it is noise, or a forgery
      this.#enter({ name: 'succeeded', acknowledged: true })
    }
  }

  #send(flag: Flag, hops = 0): void {
    const { secret, peer, random } = this.#options
    const data = writeDatagram(flag, secret, random)
    this.#transmits.push(hops > 0 ? { data, to: peer, flag, ttl: hops } : { data, to: peer, flag })
  }

  #finish(now: number, state: Finishing): void {
    if (now >= state.end) {
      this.#enter({ name: 'succeeded', acknowledged: true })
    } else if (state.left > 0 && now >= state.next) {
      this.#send(1)
      this.#enter({ ...state, left: state.left - 1, next: now + LAST_GAP })
    }
  }

  #enter(state: HandshakeState): void {
    if (state.name !== this.#state.name) this.#events.push(state.name)
    this.#state = state
  }
}
