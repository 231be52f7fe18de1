import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import type { Clock, Logger } from '../net/index.js'
import { SeenSessions } from '../sealing/index.js'

/** How long the words of a peer are remembered, in ms: a year. They name no time, so they never become too old. */
const KEPT = 366 * 24 * 3_600_000
/** How many are: with fifty pairings a day more than a year of them. A file has some 50 octets for each. */
const MOST = 20_000

/** The words that peers have signed before, across restarts: nothing in them says when or for whom they were meant. */
export class Digests {
  readonly #seen: SeenSessions
  readonly #clock: Clock

  private constructor(seen: SeenSessions, clock: Clock) {
    this.#seen = seen
    this.#clock = clock
  }

  /**
   * @param directory that of this identity and application
   * @param peer whose answers: each inviter has a file for its peer; without it an accepter's, for the invites of all
   * @throws PlexusError STATE_DIRECTORY
   */
  static async open(
    directory: string,
    { clock, log }: { clock: Clock; log: Logger },
    peer?: IdentityName,
  ): Promise<Digests> {
    const name = peer
      ? `plexus3-answers-${createHash('sha256').update(formatIdentity(peer)).digest('hex').slice(0, 16)}`
      : 'plexus3-invites'
    return new Digests(await SeenSessions.open(join(directory, name), { clock, log, most: MOST }), clock)
  }

  /** Whether these words are new; from now on they are not. On disk when it resolves, if the disk takes it. */
  async first(digest: Buffer): Promise<boolean> {
    const id = digest.subarray(0, 16)
    if (this.#seen.has(id)) return false
    await this.#seen.add(id, this.#clock.date() + KEPT)
    return true
  }

  async close(): Promise<void> {
    await this.#seen.close()
  }
}
