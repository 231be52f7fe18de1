export type { PingReport } from '../daemon/index.js'
export {
  failedOutcome,
  formatRecord,
  OFFER_KINDS,
  type OfferKind,
} from '../pairing/index.js'
export { bindOf, openPort, tryPort } from './bind.js'
export { lookAtDialect } from './dialect.js'
export { refuseClashes } from './forwards.js'
export { type MeetingOptions, openMeeting } from './meeting.js'
export { resolveHost, resolveNamed } from './named.js'
export { measureNetwork, openNatMemory, openPing, openProgram } from './opening.js'
export type { Outside } from './outside.js'
export type { Program, ProgramHooks } from './program.js'
export { lookAtServices, type ServicesSeen } from './services.js'
export { type Assembled, assemble, type Foundation, type SessionOptions, stateOwner } from './session.js'
export type {
  BindSettings,
  DialectSettings,
  ForwardingSettings,
  MeetingSettings,
  Named,
  NetworkSettings,
  PairingSettings,
  ProgramSettings,
  RoleSettings,
  SessionSettings,
  UseSettings,
} from './settings.js'
