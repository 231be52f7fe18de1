import type { Due, Endpoint, Random } from '../../net/index.js'
import { sameEndpoint } from '../../net/index.js'
import { Opener } from './cipher.js'
import { Ephemeral, Greeter, type Greeting, helloBodyOf, REVISION, type TunnelKeys } from './greeting.js'
import { OlderHellos } from './older-hellos.js'

/** The first HELLO that is not answered is repeated after this long, in ms, then in longer and longer steps. */
const FIRST_REPEAT = 100
const REPEAT_GROWTH = 1.5
/** As the peer may start seconds later, it is not to wait longer than this when it does, in ms. */
const LAST_REPEAT = 500

/** A responder that hears nothing sends a KNOCK this often, in ms: enough to keep its NAT open for the HELLO. */
const KNOCK_INTERVAL = 500

/** The least time between two answers to addresses other than the known one, in ms. */
const STRANGER_INTERVAL = 100

/**
 * A greeting from another address than the known one that is older than this, or as much younger, in ms, is taken for a
 * recorded one and not answered. The clocks of a pairing may differ as much; those of a key file may do what they like,
 * as long as the peer is where it is expected.
 */
const FRESHNESS = 15 * 60_000

/** Who has proven to be there: what its greetings say, to tell later ones from. */
export type Greeted = Pick<Greeting, 'ephemeral' | 'revision' | 'proves' | 'time'>

/** What came of a datagram. */
export type HandshakeOutcome =
  | { readonly name: 'nothing' }
  /** Keys, with where the peer is; `rtt` in ms if it could be measured; `payload`: the frames that came at once. */
  | ({
      readonly name: 'done'
      readonly keys: TunnelKeys
      readonly peer: Greeted
      readonly from: Endpoint
      readonly rtt?: number
      /** What the responder has to be sent until it sends frames: sealed anew each time. */
      readonly confirmation?: () => Buffer
    } & ({ readonly payload?: undefined } | { readonly packet: number; readonly payload: Buffer }))

const NOTHING: HandshakeOutcome = { name: 'nothing' }

export interface HandshakeOptions {
  readonly initiator: boolean
  readonly random: Random
  /** Where the peer is expected. */
  readonly remote: Endpoint
  /** The time at the start, in ms since 1970-01-01 UTC; 0 if that is not known. */
  readonly date?: number
  /** That of this side, as the greeter has it. */
  readonly revision?: number
}

/**
 * One round trip and a half that proves the key: HELLO of the initiator, WELCOME of the responder, CONFIRM of the initiator.
 * The initiator is done with the WELCOME, as it answers a key that was made a moment ago. A HELLO may be a recorded one:
 * the responder answers it and computes and keeps nothing for it. It is done with the CONFIRM, which names the key of its
 * WELCOME; or, as an older initiator sends none, with the first datagram under the new keys.
 *
 * Its calls: `tick` at once and when it is due, `receive`, and after each of them `transmits`; `wipe` at the end.
 */
export class Handshake {
  readonly #initiator: boolean
  readonly #greeter: Greeter
  readonly #ephemeral: Ephemeral
  readonly #remote: Endpoint
  readonly #out: { data: Buffer; to: Endpoint }[] = []
  readonly #older: OlderHellos
  readonly #revision: number
  readonly #date: (now: number) => number | undefined
  #hello: Buffer | undefined
  #helloAt = 0
  #hellos = 0
  #repeat = FIRST_REPEAT
  #strangerAt = Number.NEGATIVE_INFINITY
  #next: number

  constructor(options: HandshakeOptions, greeter: Greeter, now: number) {
    const { date = 0, revision = REVISION } = options
    this.#initiator = options.initiator
    this.#revision = revision
    this.#greeter = greeter
    this.#ephemeral = new Ephemeral(options.random)
    this.#remote = options.remote
    this.#date = (at) => (date === 0 ? undefined : date + at - now)
    this.#older = new OlderHellos(now, options.remote, (ephemeral, hello) => this.#agree(ephemeral, hello))
    this.#next = now
  }

  /** When `tick` wants to be called, and why. */
  get due(): Due<'greet' | 'knock'> {
    return { at: this.#next, why: this.#initiator ? 'greet' : 'knock' }
  }

  /** Datagrams to send, in order. */
  transmits(): { data: Buffer; to: Endpoint }[] {
    return this.#out.splice(0)
  }

  tick(now: number): void {
    if (now < this.#next) return
    if (this.#initiator) {
      this.#sendHello(now, this.#remote)
      this.#next = now + this.#repeat
      this.#repeat = Math.min(LAST_REPEAT, this.#repeat * REPEAT_GROWTH)
    } else {
      this.#out.push({ data: this.#greeter.knock(this.#ephemeral.publicKey), to: this.#remote })
      this.#next = now + KNOCK_INTERVAL
    }
  }

  receive(now: number, data: Buffer, from: Endpoint): HandshakeOutcome {
    if (Greeter.isGreeting(data)) return this.#greeted(now, data, from)
    return this.#initiator ? NOTHING : this.#proven(now, data, from)
  }

  /** Forgets the ephemeral key. */
  wipe(): void {
    this.#ephemeral.wipe()
    this.#older.clear()
  }

  #greeted(now: number, data: Buffer, from: Endpoint): HandshakeOutcome {
    const greeting = this.#greeter.open(data)
    switch (greeting?.type) {
      case 'knock':
        // the peer has just come: not to be left waiting for the next repetition
        if (now - this.#helloAt >= FIRST_REPEAT / 2 && this.#mayAnswer(now, greeting, from))
          this.#sendHello(now, from)
        return NOTHING
      case 'hello':
        this.#welcome(now, greeting, from)
        return NOTHING
      case 'confirm':
        return this.#confirmed(greeting, from)
      case 'welcome':
        return this.#welcomed(now, greeting, from)
      case undefined:
        return NOTHING
    }
  }

  #welcome(now: number, hello: Greeting, from: Endpoint): void {
    if (!this.#mayAnswer(now, hello, from)) return
    if (Math.min(hello.revision, this.#revision) === 0) this.#older.add(hello.ephemeral, hello.body, from)
    // sealed anew each time, as nothing on the wire is to be recognised; the body is the same
    const { datagram } = this.#greeter.welcome(this.#ephemeral.publicKey, hello.ephemeral)
    this.#out.push({ data: datagram, to: from })
  }

  #welcomed(now: number, welcome: Greeting, from: Endpoint): HandshakeOutcome {
    const { ephemeral, answers, revision } = welcome
    const own = this.#ephemeral.publicKey
    if (!this.#hello || !answers.equals(own)) return NOTHING
    const keys = this.#greeter.keys(this.#ephemeral, ephemeral, this.#hello, welcome.body)
    if (!keys) return NOTHING
    const again = () =>
      revision === 0 ? this.#greeter.hello(own).datagram : this.#greeter.confirm(own, ephemeral)
    const confirmation = this.#revision === 0 ? {} : { confirmation: again }
    // which of several HELLOs was answered is not known, so only a single one measures
    const measured = this.#hellos === 1 ? { rtt: now - this.#helloAt } : {}
    return { name: 'done', keys, peer: welcome, from, ...confirmation, ...measured }
  }

  #confirmed(confirm: Greeting, from: Endpoint): HandshakeOutcome {
    if (this.#revision === 0 || !confirm.answers.equals(this.#ephemeral.publicKey)) return NOTHING
    const keys = this.#agree(confirm.ephemeral, helloBodyOf(confirm))
    return keys ? { name: 'done', keys, peer: confirm, from } : NOTHING
  }

  #agree(ephemeral: Buffer, hello: Buffer): TunnelKeys | undefined {
    const welcome = this.#greeter.welcomeBody(this.#ephemeral.publicKey, ephemeral)
    return this.#greeter.keys(this.#ephemeral, ephemeral, hello, welcome)
  }

  #proven(now: number, data: Buffer, from: Endpoint): HandshakeOutcome {
    const packet = Opener.packetOf(data)
    if (packet === undefined) return NOTHING
    for (const { keys, ephemeral } of this.#older.from(now, from)) {
      const payload = keys.opener.open(Buffer.from(data), packet)
      if (payload)
        return {
          name: 'done',
          keys,
          peer: { ephemeral, revision: 0, proves: false, time: 0 },
          from,
          packet,
          payload,
        }
    }
    return NOTHING
  }

  /** Whoever is not where the peer should be gets little, even if what it sent was authentic: it may be recorded. */
  #mayAnswer(now: number, { time }: Greeting, from: Endpoint): boolean {
    if (sameEndpoint(from, this.#remote)) return true
    const date = this.#date(now)
    if (time !== 0 && date !== undefined && Math.abs(date - time) > FRESHNESS) return false
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
