export { type AcceptOptions, accept, type Refusal } from './accept.js'
export { discover } from './discovery.js'
export { createIdentity, type IdentityOptions } from './identity.js'
export { type InviteOptions, invite } from './invite.js'
export type { PlainLog } from './log.js'
export type { PairingOptions, Surroundings } from './options.js'
export type { Passage } from './passage.js'
export { openRendezvous, type RendezvousOptions } from './rendezvous.js'
export { type PassageHandler, type ServeOptions, serve } from './serve.js'
export {
  openTunnel,
  type StreamDecision,
  type Tunnel,
  type TunnelOptions,
  type TunnelStats,
} from './tunnel.js'
