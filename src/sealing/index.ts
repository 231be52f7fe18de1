export { deriveKeys, ephemeral, type SessionKeys } from './keys.js'
export { MAX_SEALED, seal, type Unverified, unseal } from './seal.js'
export { SeenSessions } from './seen.js'
