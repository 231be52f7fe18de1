export {
  ATTRIBUTE_TYPES,
  type Attribute,
  type AttributeName,
  isComprehensionRequired,
  MAGIC_COOKIE,
} from './attribute.js'
export { DISCOVERY_TIMEOUT, type DiscoverOptions, discover, isNameless } from './discover.js'
export {
  longTermKey,
  shortTermKey,
  verifyFingerprint,
  verifyIntegrity,
  verifyIntegritySha256,
} from './integrity.js'
export { compareMappings, type MappingBehaviour } from './mapping.js'
export {
  BINDING,
  decode,
  decodeAnswer,
  encode,
  find,
  isStun,
  type Message,
  type MessageClass,
  type MessageContent,
  TRANSACTION_ID_LENGTH,
} from './message.js'
export { DEFAULT_STUN_SERVERS } from './public-servers.js'
export { REFRESH_INTERVAL, type RefreshOptions, refresh } from './refresh.js'
export { type SampleOptions, samplePorts } from './sample.js'
export { type ServerCapability, StunServer, type StunServerOptions } from './server.js'
export { addressesOf, lookupAll, parseServer, type Resolve, reachable, STUN_PORT } from './server-name.js'
export {
  FAMILY_GRACE,
  type NameFailure,
  type Reflexive,
  Survey,
  type SurveyState,
  type Tried,
} from './survey.js'
export {
  describeFailure,
  INITIAL_RTO,
  LAST_WAIT,
  MAX_REQUESTS,
  mappedEndpoint,
  Transaction,
  type TransactionFailure,
  type TransactionState,
  type Transmit,
} from './transaction.js'
