import './log.js'

export { bytes, duration } from './amounts.js'
export { type Channels, publish, type Source, type Told, watch } from './channels.js'
export type {
  CandidateSteps,
  ConnectionEvent,
  PairingEvent,
  PathEvent,
  SeenCandidate,
  TunnelEvent,
  TunnelReading,
} from './events.js'
export type { Outcome } from './outcome.js'
