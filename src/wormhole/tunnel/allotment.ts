import { type Grant, type Share, TUNNEL_COST } from '../../budget/index.js'
import { PlexusError } from '../../errors/index.js'
import type { Clock, Logger } from '../../net/index.js'
import { takeShare, warnRefused } from '../surroundings.js'
import type { TunnelMemory } from './tunnel-memory.js'

/** What one tunnel has of its peer's share: given back when it is over. */
export class Allotment implements TunnelMemory {
  readonly #share: Share
  readonly #grant: Grant
  readonly #around: { readonly clock: Clock; readonly log: Logger }

  /** @throws PlexusError BUSY if the peer may have no further tunnel */
  constructor(share: Share, around: { readonly clock: Clock; readonly log: Logger }) {
    const taken = takeShare(around, share, TUNNEL_COST)
    if (taken.kind === 'refused') {
      throw new PlexusError('BUSY', taken.sentence, { advice: 'Close another tunnel of this peer first.' })
    }
    this.#share = share
    this.#grant = taken
    this.#around = around
  }

  draw(bytes: number): boolean {
    return this.#grant.grow(this.#around.clock.now(), 'memory', bytes)
  }

  restore(bytes: number): void {
    this.#grant.shrink('memory', bytes)
  }

  short(): void {
    const sentence = 'The limit of memory for one peer is reached.'
    warnRefused(this.#around, this.#share, { kind: 'refused', resource: 'memory', sentence })
  }

  end(): void {
    this.#grant.giveBack()
  }
}
