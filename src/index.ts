/**
 * plexus as a library: what a program imports by `import { invite, accept } from 'plexus'`. See docs/library.md.
 *
 * Nothing here listens to signals of the process, reads its environment, ends it or writes to its console. Everything
 * that is opened has an end that the caller decides about.
 */

export type {
  Envelope,
  Mailbox,
  OpenRendezvous,
  Rendezvous,
  RendezvousContext,
} from '../rendezvous/index.js'
export { type Amounts, Budget, type Resource } from './budget/index.js'
export { ERROR_CODES, type ErrorCode, type ErrorKind, isAbort, PlexusError } from './errors/index.js'
export {
  type Certificate,
  formatIdentity,
  type Host,
  type IdentityName,
  type IdentityPaths,
  parseIdentity,
  Repository,
} from './identity/index.js'
export {
  type AcceptOptions,
  accept,
  createIdentity,
  discover,
  type IdentityOptions,
  type InviteOptions,
  invite,
  openRendezvous,
  openTunnel,
  type PairingOptions,
  type Passage,
  type PassageHandler,
  type PlainLog,
  type Refusal,
  type RendezvousOptions,
  type ServeOptions,
  type StreamDecision,
  type Surroundings,
  serve,
  type Tunnel,
  type TunnelOptions,
  type TunnelStats,
} from './library/index.js'
export {
  type Clock,
  type Datagram,
  type DatagramListener,
  type Endpoint,
  type Family,
  formatEndpoint,
  type Logger,
  parseEndpoint,
  type Random,
  silent,
  UdpPort,
} from './net/index.js'
export type { OfferKind, Role } from './pairing/index.js'
export type { CandidateKind } from './punch/index.js'
export {
  type Attribute,
  type AttributeName,
  compareMappings,
  DEFAULT_STUN_SERVERS,
  type DiscoverOptions,
  decode as decodeStun,
  encode as encodeStun,
  find as findAttribute,
  isStun,
  type MappingBehaviour,
  type Message as StunMessage,
  type MessageClass as StunClass,
  type MessageContent as StunContent,
  type Reflexive,
  STUN_PORT,
  StunServer,
  type StunServerOptions,
} from './stun/index.js'
export { systemCeilings } from './system/index.js'
export type { StreamRequest, TunnelOver } from './wormhole/index.js'
