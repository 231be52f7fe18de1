import { type Candidate, MAX_REMOTE, type NatHint } from '../punch/index.js'
import type { Offer } from './message.js'

/** What the peer says while a session goes on, however early it comes. */
export class PeerNews {
  #nat: NatHint | undefined
  /** The latest of them, as many as a punch takes. */
  readonly #candidates: Candidate[] = []
  #listener: ((candidates: readonly Candidate[]) => void) | undefined

  /** The peer has found out more: candidates that add to the earlier ones, and what it knows of its NAT by now. */
  update(candidates: readonly Candidate[], nat: NatHint): void {
    if (nat.mapping !== 'unknown') this.#nat = nat
    this.#candidates.push(...candidates)
    this.#candidates.splice(0, this.#candidates.length - MAX_REMOTE)
    this.#listener?.(candidates)
  }

  /** An offer with all that was said since. */
  bring<O extends Pick<Offer, 'candidates' | 'nat'>>(offer: O): O {
    return { ...offer, candidates: [...offer.candidates, ...this.#candidates], nat: this.#nat ?? offer.nat }
  }

  /** From now on news goes to `listener`, with the candidates that came with it. */
  connect(listener: (candidates: readonly Candidate[]) => void): void {
    this.#listener = listener
  }
}
