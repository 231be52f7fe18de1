export {
  Accepter,
  type AccepterOptions,
  type GiveUp,
} from './accepter.js'
export { MAX_SESSIONS, ROOM, type Room, type Underway } from './admission.js'
export { Complaints } from './complaints.js'
export { type PairingContext, shortSession, stretchedTimeout } from './context.js'
export { lastWords } from './farewell.js'
export { type Gathering, gather, innerEndpoint, keepMapped, reflexiveOf } from './gathering.js'
export { type InviteOptions, invite } from './inviter.js'
export type { Purpose, RefusalCode } from './message.js'
export type { Refused } from './negotiations.js'
export { OFFER_KINDS, type OfferKind } from './offered.js'
export { failedOutcome, pairedOutcome } from './outcome.js'
export { discard, type Hole, type Passage, type Role } from './passage.js'
export { PathMemory } from './path-memory.js'
export { Rate } from './rate.js'
export { findBlocked } from './reachability.js'
export { Searching } from './searching.js'
export { type CandidateRecord, formatRecord } from './story.js'
