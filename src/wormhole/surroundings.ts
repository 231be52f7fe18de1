import type { Budget, Grant, Needs, Refusal, Share } from '../budget/index.js'
import type { Clock, Logger } from '../net/index.js'
import type { Hush } from './hush.js'

/** What both ends of a tunnel work with. */
export interface Surroundings {
  readonly clock: Clock
  readonly log: Logger
  readonly hush: Hush
  /** What each peer may use of this process. */
  readonly budget: Budget
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

/** Takes some of a peer's share; a refusal is told in the log. */
export function takeShare(
  around: Pick<Surroundings, 'clock' | 'log'>,
  share: Share,
  needs: Needs,
): Grant | Refusal {
  const taken = share.take(around.clock.now(), needs)
  if (taken.kind === 'refused') warnRefused(around, share, taken)
  return taken
}

/** Says that a peer met its bounds: once a minute for each identity, else at `debug`. */
export function warnRefused(
  { clock, log }: Pick<Surroundings, 'clock' | 'log'>,
  share: Share,
  { sentence }: Refusal,
): void {
  const who = share.identity === '' ? 'the peer' : share.identity
  const told = `refusing more from ${who}: ${sentence}`
  if (share.mayWarn(clock.now())) log.warn({}, told)
  else log.debug({}, told)
}
