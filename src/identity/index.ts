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
export {
  checkIdentityName,
  formatIdentity,
  type IdentityName,
  isIdentityName,
  parseIdentity,
} from './name.js'
export { type Host, type IdentityPaths, Repository } from './repository.js'
