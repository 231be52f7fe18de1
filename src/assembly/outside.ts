import type { Budget } from '../budget/index.js'
import type { Clock, Governor, Logger, Random } from '../net/index.js'

/** What a program is given that is no setting: time, randomness, the log, what the process has, and its environment. */
export interface Outside {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** One for all that runs in the process: what goes to endpoints that have not answered. */
  readonly governor: Governor
  /** The same for what peers may use of the process. */
  readonly budget: Budget
  /** For a rendezvous and a command that may look at it; a library has none. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}
