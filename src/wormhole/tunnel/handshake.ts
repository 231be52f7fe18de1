import type { Endpoint, Random } from '../../net/index.js'
import { sameEndpoint } from '../../net/index.js'
import { Opener } from './cipher.js'
import { Ephemeral, Greeter, type TunnelKeys } from './greeting.js'

/** The first HELLO that is not answered is repeated after this long, in ms, then in longer and longer steps. */
const FIRST_REPEAT = 100
const REPEAT_GROWTH = 1.5
/** As the peer may start seconds later, it is not to wait longer than this when it does, in ms. */
const LAST_REPEAT = 500

/** A responder that hears nothing sends a KNOCK this often, in ms: enough to keep its NAT open for the HELLO. */
const KNOCK_INTERVAL = 500

/**
 * HELLOs that a responder keeps at once. One is the peer's; others can only be recorded ones of an older tunnel with
 * the same key, or the peer's before it was started again.
 */
const MAX_CANDIDATES = 8

/** The least time between two answers to addresses other than the known one, in ms. */
const STRANGER_INTERVAL = 100

/** What came of a datagram. */
export type HandshakeOutcome =
  | { readonly name: 'nothing' }
  /** Keys, with where the peer is; `rtt` in ms if it could be measured; `payload`: the frames that came at once. */
  | ({ readonly name: 'done'; readonly keys: TunnelKeys; readonly from: Endpoint; readonly rtt?: number } & (
      | { readonly payload?: undefined }
      | { readonly packet: number; readonly payload: Buffer }
    ))

const NOTHING: HandshakeOutcome = { name: 'nothing' }

interface Candidate {
  readonly ephemeral: Buffer
  readonly keys: TunnelKeys
}

/**
 * One round trip that proves the key: HELLO of the initiator, WELCOME of the responder. The initiator is done with the
 * WELCOME, the responder with the first datagram under the new keys: a HELLO may be a recorded one.
 */
export class Handshake {
  readonly #initiator: boolean
  readonly #greeter: Greeter
  readonly #ephemeral: Ephemeral
  readonly #remote: Endpoint
  readonly #out: { data: Buffer; to: Endpoint }[] = []
  readonly #candidates: Candidate[] = []
  #hello: Buffer | undefined
  #helloAt = 0
  #hellos = 0
  #repeat = FIRST_REPEAT
  #strangerAt = Number.NEGATIVE_INFINITY
  /** When `tick` wants to be called, in ms. */
  deadline: number

  constructor(
    options: { initiator: boolean; random: Random; remote: Endpoint },
    greeter: Greeter,
    now: number,
  ) {
    this.#initiator = options.initiator
    this.#greeter = greeter
    this.#ephemeral = new Ephemeral(options.random)
    this.#remote = options.remote
    this.deadline = now
  }

  /** Datagrams to send, in order. */
  transmits(): { data: Buffer; to: Endpoint }[] {
    return this.#out.splice(0)
  }

  tick(now: number): void {
    if (now < this.deadline) return
    if (this.#initiator) {
      this.#sendHello(now, this.#remote)
      this.deadline = now + this.#repeat
      this.#repeat = Math.min(LAST_REPEAT, this.#repeat * REPEAT_GROWTH)
    } else {
      this.#out.push({ data: this.#greeter.knock(), to: this.#remote })
      this.deadline = now + KNOCK_INTERVAL
    }
  }

  receive(now: number, data: Buffer, from: Endpoint): HandshakeOutcome {
    if (Greeter.isGreeting(data)) return this.#greeted(now, data, from)
    return this.#initiator ? NOTHING : this.#proven(data, from)
  }

  /** Forgets the ephemeral key. */
  wipe(): void {
    this.#ephemeral.wipe()
    this.#candidates.length = 0
  }

  #greeted(now: number, data: Buffer, from: Endpoint): HandshakeOutcome {
    const greeting = this.#greeter.open(data)
    if (!greeting) return NOTHING
    if (greeting.type === 'knock') {
      // the peer has just come: not to be left waiting for the next repetition
      if (now - this.#helloAt >= FIRST_REPEAT / 2 && this.#mayAnswer(now, from)) this.#sendHello(now, from)
      return NOTHING
    }
    if (greeting.type === 'hello') {
      const candidate = this.#candidateOf(greeting.ephemeral, greeting.body)
      if (candidate && this.#mayAnswer(now, from)) {
        // sealed anew each time, as nothing on the wire is to be recognised; the body is the same
        const { datagram } = this.#greeter.welcome(this.#ephemeral.publicKey, candidate.ephemeral)
        this.#out.push({ data: datagram, to: from })
      }
      return NOTHING
    }
    if (!this.#hello || !greeting.answers.equals(this.#ephemeral.publicKey)) return NOTHING
    const keys = this.#greeter.keys(this.#ephemeral, greeting.ephemeral, this.#hello, greeting.body)
    if (!keys) return NOTHING
    // which of several HELLOs was answered is not known, so only a single one measures
    return { name: 'done', keys, from, ...(this.#hellos === 1 ? { rtt: now - this.#helloAt } : {}) }
  }

  #candidateOf(ephemeral: Buffer, hello: Buffer): Candidate | undefined {
    const known = this.#candidates.find((candidate) => candidate.ephemeral.equals(ephemeral))
    if (known) return known
    const { body } = this.#greeter.welcome(this.#ephemeral.publicKey, ephemeral)
    const keys = this.#greeter.keys(this.#ephemeral, ephemeral, hello, body)
    if (!keys) return undefined
    if (this.#candidates.length === MAX_CANDIDATES) this.#candidates.shift()
    const candidate = { ephemeral: Buffer.from(ephemeral), keys }
    this.#candidates.push(candidate)
    return candidate
  }

  #proven(data: Buffer, from: Endpoint): HandshakeOutcome {
    const packet = Opener.packetOf(data)
    if (packet === undefined) return NOTHING
    for (const { keys } of this.#candidates) {
      const payload = keys.opener.open(Buffer.from(data), packet)
      if (payload) return { name: 'done', keys, from, packet, payload }
    }
    return NOTHING
  }

  /** Whoever is not where the peer should be gets little, even if what it sent was authentic: it may be recorded. */
  #mayAnswer(now: number, from: Endpoint): boolean {
    if (sameEndpoint(from, this.#remote)) return true
    if (now - this.#strangerAt < STRANGER_INTERVAL) return false
    this.#strangerAt = now
    return true
  }

  #sendHello(now: number, to: Endpoint): void {
    const { datagram, body } = this.#greeter.hello(this.#ephemeral.publicKey)
    this.#hello = body
    this.#helloAt = now
    this.#hellos++
    this.#out.push({ data: datagram, to })
  }
}
