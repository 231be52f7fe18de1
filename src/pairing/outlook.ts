import { PlexusError } from '../errors/index.js'
import type { Clock } from '../net/index.js'
import type { Prospect } from '../punch/index.js'
import type { Gathering } from './gathering.js'
import { blocked } from './reachability.js'
import { isCertain, verdict } from './verdict.js'

/**
 * How long both sides try before what is known of their NATs counts as certain, in ms: a direct path takes two seconds
 * where much is lost, and a port mapping of the peer may still be on its way.
 */
const CERTAIN_AFTER = 6000

/** After so many ms without a datagram of the peer, where no STUN server answered either, UDP is blocked. */
const BLOCKED_AFTER = 7000

const NOTHING_HEARD = 'nothing was heard from the peer'

/** How often that is looked at, in ms: news may come at any time. */
const LOOK = 500

/** The two sides of a punch as they are known by now. */
export type Outlook = () => { readonly own: Prospect; readonly peer: Prospect }

export interface EarlyEnd {
  readonly gathering: Pick<Gathering, 'failure' | 'portMapping'>
  /** When the peer can be expected to punch as well, in ms from now. */
  readonly base: number
  /** Whether anything authentic was heard. */
  readonly heard: () => boolean
  readonly prospects: Outlook
  /** Is told why nothing will come of the punch, once. */
  readonly give: (reason: PlexusError) => void
}

/**
 * Watches a punch, and gives it up when it is certain that nothing can come of it, until the returned function is called.
 * Hints alone are never enough: real NATs change, so a try of some seconds must have come to nothing.
 */
export function giveUpEarly(clock: Clock, { gathering, base, heard, prospects, give }: EarlyEnd): () => void {
  const started = clock.now()
  let asked = gathering.portMapping === undefined
  void gathering.portMapping?.asked.then(() => {
    asked = true
  })
  const look = () => {
    const reason = heard() ? undefined : hopeless(clock.now() - started - base)
    if (reason) give(reason)
    else cancel = clock.timer(LOOK, look)
  }
  const hopeless = (tried: number): PlexusError | undefined => {
    const { own, peer } = prospects()
    if (tried >= CERTAIN_AFTER && asked && isCertain(own, peer)) return verdict(own, peer)
    if (tried >= BLOCKED_AFTER && gathering.failure) return blocked(gathering.failure, NOTHING_HEARD)
    return undefined
  }
  let cancel = clock.timer(base + CERTAIN_AFTER, look)
  return () => cancel()
}

/** What a punch that ran out of time most likely failed by. */
export function afterwards(
  error: PlexusError,
  { failure }: Pick<Gathering, 'failure'>,
  { own, peer }: ReturnType<Outlook>,
): PlexusError {
  if (error.code !== 'PUNCH_TIMEOUT') return error
  const impossible = verdict(own, peer)
  if (impossible) return impossible
  if (!failure) return error
  return new PlexusError('STUN_UNREACHABLE', `${failure.message} ${error.message}`, { cause: error })
}
