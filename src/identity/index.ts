export {
  algorithmOf,
  type Digest,
  digestAlgorithm,
  hashAndMask,
  parseDigestAlgorithm,
  parseHashAndMask,
  parseSignatureAlgorithm,
  type SignatureScheme,
  signerAlgorithm,
} from './algorithm.js'
export { type Certificate, type KeyKind, parseCertificate } from './certificate.js'
export { createIdentity } from './create.js'
export * as der from './der.js'
export { DIALECTS, type Dialect } from './dialect.js'
export { EXPIRY_NOTICE, expiryNotice } from './expiry.js'
export { formatHandout, type Handout, parseHandout } from './handout.js'
export {
  checkIdentityName,
  formatIdentity,
  type IdentityName,
  isIdentityName,
  parseIdentity,
} from './name.js'
export type { IdentityPaths } from './paths.js'
export type { IdentityRecord, KeyFile } from './record.js'
export { removeIdentity } from './removal.js'
export { type Host, Repository } from './repository.js'
export { parseFingerprint } from './revoked.js'
export {
  finishRollover,
  type ImportPlan,
  planImport,
  renewIdentity,
  storeCertificates,
} from './rollover.js'
export { isUnclear, Standing } from './standing.js'
