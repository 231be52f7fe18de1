import type { Clock, Logger } from '../net/index.js'
import type { Hush } from './hush.js'

/** What both ends of a tunnel work with. */
export interface Surroundings {
  readonly clock: Clock
  readonly log: Logger
  readonly hush: Hush
  /** What a watcher tells its own tunnels by. */
  readonly scope: object
}

/**
 * A warning that somebody else can bring about as often as he likes: repeated only at `debug`.
 * @param about what makes it the same as another, where the sentence holds words that a peer chose
 */
export function warnOnce(
  { log, hush }: Pick<Surroundings, 'log' | 'hush'>,
  sentence: string,
  about = sentence,
): void {
  if (hush.allows(about)) log.warn({}, sentence)
  else log.debug({}, sentence)
}
