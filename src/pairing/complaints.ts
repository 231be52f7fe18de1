import type { PlexusError } from '../errors/index.js'
import type { Clock, Logger } from '../net/index.js'
import { Rate } from './rate.js'

const WINDOW = 60_000

/** How many dropped messages of strangers are worth a warning in WINDOW ms, of each kind; the rest is for whoever debugs. */
const MAX_OF_STRANGERS = 30

/** The same for all that one identity does. */
const MAX_OF_A_PEER = 12

/** What an accepter has to say against those who write to it: they can bring it about as often as they like, and must not fill the log. */
export class Complaints {
  readonly #strangers: Rate
  readonly #peers: Rate
  readonly #excess: Rate

  constructor(clock: Clock) {
    this.#strangers = new Rate(clock, MAX_OF_STRANGERS, WINDOW)
    this.#peers = new Rate(clock, MAX_OF_A_PEER, WINDOW)
    this.#excess = new Rate(clock, 1, WINDOW)
  }

  /** A message whose sender nobody vouches for was dropped. */
  ofStranger(log: Logger, error: PlexusError): void {
    const loudness = this.#strangers.allows(error.code) ? 'warn' : 'debug'
    log[loudness]({ code: error.code }, error.message)
  }

  /** A peer did something that comes to nothing. */
  ofPeer(log: Logger, peer: string, { code, message }: Pick<PlexusError, 'code' | 'message'>): void {
    log[this.loudness(peer)]({ code }, message)
  }

  /** How loud one more complaint of a peer is to be. */
  loudness(peer: string): 'warn' | 'debug' {
    return this.#peers.allows(peer) ? 'warn' : 'debug'
  }

  /** A peer says more than it may: told once in a minute. */
  ofExcess(log: Logger, peer: string, sentence: string): void {
    const loudness = this.#excess.allows(peer) ? 'warn' : 'debug'
    log[loudness]({ code: 'BUSY' }, sentence)
  }
}
