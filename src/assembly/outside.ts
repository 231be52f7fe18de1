import type { Clock, Logger, Random } from '../net/index.js'

/** What a program is given that is no setting: time, randomness, the log, the environment of the process. */
export interface Outside {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** For a rendezvous and a command that may look at it; a library has none. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}
