import type { Allowance, Random } from '../net/index.js'
import type { Candidate } from './candidate.js'
import type { Strategy } from './plan.js'
import type { Prospect } from './prospect.js'

/** What one side of a punch is made of. */
export interface PunchOptions {
  readonly role: 'inviter' | 'accepter'
  /** 32 bytes for each direction, by who sends, for this one punch: another attempt needs other keys. */
  readonly keys: { readonly inviter: Buffer; readonly accepter: Buffer }
  /** Where the peer may be. At most 32 are taken; those that nothing may be sent to are passed over. */
  readonly remote: readonly Candidate[]
  /** TTL of the opening packets, in hops; 0 sends them at full TTL. */
  readonly hops: number
  /** Accepter: how long it sends TTL-limited packets alone while nothing valid is heard, in ms. */
  readonly patience: number
  /** When this side gives up, in ms from the start. An accepter that confirmed may need some 4 s more. */
  readonly timeout: number
  readonly random: Random
  /** What may be sent to endpoints that have not answered, over all sessions; without it this punch has one of its own. */
  readonly allowance?: Allowance
  /** What is known for choosing strategies; without it the candidates are checked and nothing else is tried. */
  readonly prospects?: Prospects
}

/** What is known of both sides, and of earlier sessions. */
export interface Prospects {
  readonly own: Prospect
  readonly peer: Prospect
  /** When both sides are expected to punch, in ms from the start. */
  readonly base: number
  /** How many sessions with this peer in this network have failed since one went well. */
  readonly failures: number
  /** Which of the TTLs it was that went well, as a number that failures add to. */
  readonly variant?: number
  /** What went well the last time. */
  readonly worked?: Strategy
}
