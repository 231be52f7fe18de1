import type { Rendezvous } from '../../rendezvous/interface.js'
import type { Budget } from '../budget/index.js'
import type { Host, IdentityName, Repository } from '../identity/index.js'
import type { Clock, Governor, Logger, NatBehaviour, PortRange, Random } from '../net/index.js'
import type { PortMapper } from '../portmap/index.js'
import type { Kem } from '../sealing/index.js'
import type { OfferKind } from './offered.js'
import type { Searching } from './searching.js'

/** What both roles of a pairing need from the outside. */
export interface PairingContext {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** What a watcher tells its own sessions by. */
  readonly scope?: object
  readonly repository: Repository
  readonly host: Host
  readonly app: string
  readonly rendezvous: Rendezvous
  /** STUN servers as `host[:port]`; empty for a network without any. */
  readonly stunServers: readonly string[]
  /** The local address and port to punch from, as in `--stun-client`; the system chooses what is left out, or the range. */
  readonly bind: { readonly address?: string; readonly port?: number; readonly range?: PortRange }
  /** The kinds of candidates to let others know of; without it all. */
  readonly kinds?: ReadonlySet<OfferKind>
  /** Maps ports on the router when a NAT is in the way; without it no router is asked. */
  readonly portMapper?: PortMapper
  /** What is known of the NAT from elsewhere; asked whenever it is told to a peer. */
  readonly nat?: () => NatBehaviour | undefined
  /** What searches share; without it ports are never searched for. */
  readonly search?: Searching
  /** What all sessions of the process may send to endpoints that have not answered; without it each punch has its own limits. */
  readonly governor?: Governor
  /** What peers may use of the process; without it there are no bounds but those of each tunnel. */
  readonly budget?: Budget
  /** What keys are agreed by beside X25519; without it by that alone, as with a peer that has nothing else. */
  readonly kem?: Kem
  /** TTL of the opening packets, in hops. */
  readonly hops: number
  /** How long one pairing may take, in ms. */
  readonly timeout: number
  /** Whether `timeout` is meant to the letter: somebody named it. Else it stretches to the latency of the rendezvous. */
  readonly exact?: boolean
}

/** How long a message is worth anything, and how far two clocks may differ, in ms. */
export const FRESHNESS = 15 * 60_000

/** The first digits of a session id: the same in both logs. */
export function shortSession(session: string): string {
  return session.slice(0, 8)
}

/** What a pairing may take in all, in ms: two messages have to get through the slowest rendezvous in it. */
export function stretchedTimeout({
  timeout,
  exact,
  rendezvous,
}: Pick<PairingContext, 'timeout' | 'exact' | 'rendezvous'>): number {
  return exact ? timeout : timeout + 2 * rendezvous.latency
}

export type { Host, IdentityName }
