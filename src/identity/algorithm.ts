import { type Asn1, Members, malformed, nothing, oid, sequence, TAG } from './der.js'

/** The digests that count as good. MD5 and SHA-1 are not among them, on purpose. */
export type Digest = 'sha256' | 'sha384' | 'sha512'

const DIGEST_OID: Readonly<Record<Digest, string>> = {
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
}

const RSA_ENCRYPTION = '1.2.840.113549.1.1.1'
const RSASSA_PSS = '1.2.840.113549.1.1.10'
const MGF1 = '1.2.840.113549.1.1.8'

const PKCS1_OID: Readonly<Record<Digest, string>> = {
  sha256: '1.2.840.113549.1.1.11',
  sha384: '1.2.840.113549.1.1.12',
  sha512: '1.2.840.113549.1.1.13',
}

const ECDSA_OID: Readonly<Record<Digest, string>> = {
  sha256: '1.2.840.10045.4.3.2',
  sha384: '1.2.840.10045.4.3.3',
  sha512: '1.2.840.10045.4.3.4',
}

/** How something was signed. `digest` is absent where the algorithm itself does not name one (`rsaEncryption`). */
export type SignatureScheme =
  | { readonly kind: 'pkcs1'; readonly digest: Digest | undefined }
  | { readonly kind: 'pss'; readonly digest: Digest; readonly saltLength: number /* bytes */ }
  | { readonly kind: 'ecdsa'; readonly digest: Digest }

function byOid(table: Readonly<Record<Digest, string>>, dotted: string): Digest | undefined {
  return (Object.keys(table) as Digest[]).find((digest) => table[digest] === dotted)
}

/** An AlgorithmIdentifier apart: its OID, and its parameters if it has any. NULL counts as none. */
export function algorithmOf(value: Asn1, what: string): { oid: string; parameters: Asn1 | undefined } {
  const members = Members.ofSequence(value, what)
  const dotted = members.oid()
  const none = members.optionalUniversal(TAG.null)
  if (none && (none.constructed || none.value !== '')) throw malformed(what)
  const parameters = !none && members.more ? members.any() : undefined
  members.end()
  return { oid: dotted, parameters }
}

export function digestAlgorithm(digest: Digest): Asn1 {
  // without parameters, as RFC 5754, 2 wants it
  return sequence(oid(DIGEST_OID[digest]))
}

/** @returns nothing for a digest that is weak or unknown @throws PlexusError MALFORMED */
export function parseDigestAlgorithm(value: Asn1, what: string): Digest | undefined {
  const { oid: dotted, parameters } = algorithmOf(value, what)
  return parameters ? undefined : byOid(DIGEST_OID, dotted)
}

/** The algorithm of a signature in a certificate. */
export function signatureAlgorithm(key: 'rsa' | 'ec', digest: Digest): Asn1 {
  // RFC 4055, 5 wants NULL here; RFC 5758, 3.2 wants nothing there
  return key === 'rsa' ? sequence(oid(PKCS1_OID[digest]), nothing()) : sequence(oid(ECDSA_OID[digest]))
}

/** The algorithm of a signature in a SignerInfo: for RSA the digest stands beside it (RFC 5754, 3.2). */
export function signerAlgorithm(key: 'rsa' | 'ec', digest: Digest): Asn1 {
  return key === 'rsa' ? sequence(oid(RSA_ENCRYPTION), nothing()) : sequence(oid(ECDSA_OID[digest]))
}

/** @returns nothing for what is weak or unknown @throws PlexusError MALFORMED */
export function parseSignatureAlgorithm(value: Asn1, what: string): SignatureScheme | undefined {
  const { oid: dotted, parameters } = algorithmOf(value, what)
  if (dotted === RSASSA_PSS) return parameters && parsePss(parameters, what)
  if (parameters) return undefined
  if (dotted === RSA_ENCRYPTION) return { kind: 'pkcs1', digest: undefined }
  const pkcs1 = byOid(PKCS1_OID, dotted)
  if (pkcs1) return { kind: 'pkcs1', digest: pkcs1 }
  const ecdsa = byOid(ECDSA_OID, dotted)
  return ecdsa && { kind: 'ecdsa', digest: ecdsa }
}

/** RSASSA-PSS-params (RFC 4055, 3.1). What they leave out means SHA-1, and so is refused. */
function parsePss(value: Asn1, what: string): SignatureScheme | undefined {
  const members = Members.ofSequence(value, what)
  const digest = parseHashAndMask(members, what)
  const salt = members.optional(2)
  const saltLength = salt ? smallOf(salt, what) : 20
  const trailer = members.optional(3)
  if (trailer && smallOf(trailer, what) !== 1) return undefined
  members.end()
  return digest && { kind: 'pss', digest, saltLength }
}

/**
 * `[0] hash` and `[1] MGF1 with the same hash`, as they begin the parameters of RSASSA-PSS and of RSAES-OAEP.
 * Nothing when one is absent (which means SHA-1), weak, or not the other's equal (which node:crypto cannot do).
 */
export function parseHashAndMask(members: Members, what: string): Digest | undefined {
  const hash = members.optional(0)
  const mask = members.optional(1)
  if (!hash || !mask) return undefined
  const digest = parseDigestAlgorithm(Members.only(hash, what), what)
  const mgf = algorithmOf(Members.only(mask, what), what)
  if (mgf.oid !== MGF1 || !mgf.parameters) return undefined
  return parseDigestAlgorithm(mgf.parameters, what) === digest ? digest : undefined
}

/** The same two fields, written out. NULL beside the digest is what the RFC shows and other programs write. */
export function hashAndMask(digest: Digest): { hash: Asn1; mask: Asn1 } {
  const hash = () => sequence(oid(DIGEST_OID[digest]), nothing())
  return { hash: hash(), mask: sequence(oid(MGF1), hash()) }
}

function smallOf(value: Asn1, what: string): number {
  const members = Members.of(value, what)
  const number = members.small()
  members.end()
  return number
}
