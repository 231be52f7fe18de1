import type { KeyPair } from 'hyperdht'
import { type Clock, sleep } from '../../src/net/index.js'
import { type Scope, scope } from '../scope.js'
import type { DhtNetwork } from './network.js'
import type { Announcer } from './search.js'

/**
 * How long a ring stays under way, in ms: hyperdht sends its handshake again after some 0.3 and 1 s. An accepter
 * never answers it, so there is no end to wait for.
 */
const RING_DURATION = 1500
/** How long it stays when others wait for their turn: the first send and one more. */
const CROWDED_DURATION = 500
/** After this long without a refusal a ring counts as delivered, in ms. A key that nobody listens at fails sooner. */
const DELIVERED_AFTER = 60
/** Rings under way at the same time. */
const MAX_RINGS = 12
/**
 * Pauses before an announcer is rung again, in ms, while nobody says that the message was taken: often in the first
 * 12 s, as an accepter that was cut off is back within a few.
 */
const AGAIN = [300, 500, 500, 500, 1000, 1000, 3000, 6000, 12_000] as const

interface Turn {
  announcer: Announcer
  readonly attempt: number
}

/** Rings announcers for one message: trusted ones first, each again a few times, a bounded number at once. */
export class Ringing {
  readonly #network: DhtNetwork
  readonly #clock: Clock
  readonly #keyPair: KeyPair
  readonly #signal: AbortSignal
  readonly #onrung: () => void
  readonly #queue: Turn[] = []
  /** The announcers that have a turn, waiting or taken, by their key in hex. */
  readonly #turns = new Map<string, Turn>()
  /** The rings under way, oldest first. */
  readonly #active = new Set<Scope>()

  /** @param onrung called for each ring that was not refused */
  constructor(network: DhtNetwork, clock: Clock, keyPair: KeyPair, signal: AbortSignal, onrung: () => void) {
    this.#network = network
    this.#clock = clock
    this.#keyPair = keyPair
    this.#signal = signal
    this.#onrung = onrung
  }

  /** Has an announcer rung; for one that waits already, what is now known of it may move it forward. */
  add(announcer: Announcer): void {
    const name = announcer.key.toString('hex')
    const known = this.#turns.get(name)
    if (known) {
      known.announcer = announcer
      this.#queue.sort((a, b) => rank(a) - rank(b))
    } else {
      this.#enqueue({ announcer, attempt: 0 })
    }
  }

  #enqueue(turn: Turn): void {
    if (this.#signal.aborted) return
    this.#turns.set(turn.announcer.key.toString('hex'), turn)
    const at = this.#queue.findIndex((other) => rank(other) > rank(turn))
    this.#queue.splice(at < 0 ? this.#queue.length : at, 0, turn)
    this.#next()
  }

  #next(): void {
    while (this.#queue.length > 0 && this.#active.size < MAX_RINGS && !this.#signal.aborted) {
      const turn = this.#queue.shift()
      if (turn) void this.#ring(turn)
    }
  }

  async #ring(turn: Turn): Promise<void> {
    const { announcer, attempt } = turn
    const ringing = scope(this.#signal)
    this.#active.add(ringing)
    // one node that it named, and every other that hyperdht finds meanwhile; then those alone
    const stream = this.#network.dht.connect(announcer.key, {
      keyPair: this.#keyPair,
      relayAddresses: attempt % 2 === 0 ? announcer.relays.slice(attempt / 2, attempt / 2 + 1) : [],
      localConnection: false,
    })
    stream.on('error', () => {}) // a ring always ends in one: the handshake is never answered
    stream.once('close', () => ringing.close())
    const delivered = sleep(this.#clock, DELIVERED_AFTER, ringing.signal).then(
      () => this.#onrung(),
      () => {},
    )
    const duration = this.#queue.length > 0 ? CROWDED_DURATION : RING_DURATION
    await sleep(this.#clock, duration, ringing.signal).catch(() => {})
    await delivered
    stream.destroy()
    ringing.close()
    this.#active.delete(ringing)
    this.#next()
    const pause = AGAIN[attempt]
    if (pause === undefined || this.#signal.aborted) return
    await sleep(this.#clock, pause, this.#signal).catch(() => {})
    this.#enqueue({ announcer: turn.announcer, attempt: attempt + 1 })
  }
}

/** The order of turns: who is trusted before who is not known, fewer attempts first. */
function rank({ announcer, attempt }: Turn): number {
  return { trusted: 0, unknown: 1, doubtful: 2 }[announcer.standing] * 100 + attempt
}
