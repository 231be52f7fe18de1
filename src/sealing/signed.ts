import { constants, createHash, type KeyObject, sign, timingSafeEqual, verify } from 'node:crypto'
import { PlexusError } from '../errors/index.js'
import {
  type Certificate,
  type Digest,
  der,
  digestAlgorithm,
  type Host,
  parseDigestAlgorithm,
  parseSignatureAlgorithm,
  type SignatureScheme,
  signerAlgorithm,
} from '../identity/index.js'
import { identifies, issuerAndSerial } from './identifier.js'

/**
 * CMS SignedData (RFC 5652, 5): the content inside, one signer, signed attributes, no certificates. The signer is
 * whom the verifier says; the message itself only has to agree.
 */
const OID = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
} as const

const WHAT = 'The signed message'

/** Two are asked for, openssl writes five: more would only be work. */
const MAX_ATTRIBUTES = 16

/** SignedData as it was read: nothing in it is trusted yet. */
export interface SignedData {
  readonly content: Buffer
  /** @throws PlexusError SIGNATURE unless the key of `signer`, and no other, signed the content */
  verify(signer: Certificate): void
}

/** The digest that goes with a key: as strong as the key, and what its curve's users expect (RFC 5753, 7.1.1). */
export const digestFor = (certificate: Certificate): Digest =>
  certificate.keyKind === 'p384' ? 'sha384' : 'sha256'

/**
 * Signs with PKCS#1 v1.5 or ECDSA: what every CMS program verifies without being told.
 * @param form `detached` leaves the content out (RFC 5652, 5.2): it travels beside the signature
 */
export async function signContent(
  content: Uint8Array,
  signer: Host,
  form: 'enclosed' | 'detached' = 'enclosed',
): Promise<Buffer> {
  const digest = digestFor(signer.certificate)
  const key = signer.certificate.keyKind === 'rsa' ? 'rsa' : 'ec'
  const attributes = [
    attribute(OID.contentType, der.oid(OID.data)),
    attribute(OID.messageDigest, der.octetString(createHash(digest).update(content).digest())),
  ]
  const signature = await signAside(digest, der.encode(der.setOf(...attributes)), signer.privateKey)
  const signerInfo = der.sequence(
    der.integer(1),
    issuerAndSerial(signer.certificate),
    digestAlgorithm(digest),
    der.tagged(0, ...membersInOrder(attributes)),
    signerAlgorithm(key, digest),
    der.octetString(signature),
  )
  const signedData = der.sequence(
    der.integer(1),
    der.setOf(digestAlgorithm(digest)),
    der.sequence(
      der.oid(OID.data),
      ...(form === 'enclosed' ? [der.tagged(0, der.octetString(content))] : []),
    ),
    der.setOf(signerInfo),
  )
  return der.encode(der.sequence(der.oid(OID.signedData), der.tagged(0, signedData)))
}

/** In the thread pool: 5 ms of RSA 4096 would else hold up every socket. */
export function signAside(digest: Digest, data: Buffer, key: KeyObject): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(digest, data, key, (error, signature) => (error ? reject(error) : resolve(signature)))
  })
}

function attribute(type: string, value: der.Asn1): der.Asn1 {
  return der.sequence(der.oid(type), der.setOf(value))
}

function membersInOrder(attributes: readonly der.Asn1[]): der.Asn1[] {
  const { value } = der.setOf(...attributes)
  return typeof value === 'string' ? [] : value
}

/** What of a SignerInfo the verification needs (RFC 5652, 5.3). */
interface SignerInfo {
  readonly identifier: der.Asn1
  /** Nothing: weak or unknown. */
  readonly digest: Digest | undefined
  readonly scheme: SignatureScheme | undefined
  /** The attributes as the signature covers them: a SET OF in DER. */
  readonly signedAttributes: Buffer
  readonly messageDigest: Buffer
  readonly signature: Buffer
}

/**
 * Reads a ContentInfo with SignedData, strictly: one signer, signed attributes, id-data, nothing after the end.
 * @param detached the content, if it travelled beside the signature; then there must be none inside
 * @throws PlexusError MALFORMED
 */
export function parseSigned(bytes: Uint8Array, detached?: Buffer): SignedData {
  const outer = der.Members.ofSequence(der.decode(bytes, WHAT), WHAT)
  if (outer.oid() !== OID.signedData) throw der.malformed(WHAT)
  const inner = der.Members.ofSequence(der.Members.only(outer.tagged(0), WHAT), WHAT)
  outer.end()
  const version = inner.small()
  if (version !== 1 && version !== 3) throw der.malformed(WHAT)
  const digests = inner.set()
  const digest = parseDigestAlgorithm(digests.any(), WHAT)
  digests.end()
  const content = parseContent(inner.sequence(), detached)
  // certificates and revocation lists say nothing here: who the signer is, the caller knows
  inner.optional(0)
  inner.optional(1)
  const signers = inner.set()
  inner.end()
  const signer = parseSigner(signers.sequence(), version)
  signers.end()
  if (signer.digest !== digest) throw der.malformed(WHAT)
  return { content, verify: (certificate) => verifySigner(signer, content, certificate) }
}

function parseContent(encapsulated: der.Members, detached: Buffer | undefined): Buffer {
  if (encapsulated.oid() !== OID.data) throw der.malformed(WHAT)
  if (detached) {
    encapsulated.end()
    return detached
  }
  const content = der.Members.of(encapsulated.tagged(0), WHAT)
  const octets = content.octets()
  content.end()
  encapsulated.end()
  return octets
}

function parseSigner(members: der.Members, messageVersion: number): SignerInfo {
  const version = members.small()
  const identifier = members.any()
  // version 3 goes with a subjectKeyIdentifier, in both places (RFC 5652, 5.1 and 5.3)
  const expected = der.isContext(identifier, 0) ? 3 : 1
  if (version !== expected || messageVersion !== expected) throw der.malformed(WHAT)
  const digest = parseDigestAlgorithm(members.any(), WHAT)
  // A signature straight over the content is refused: it could be one over attributes, put here as content.
  const { signedAttributes, messageDigest } = parseAttributes(members.tagged(0))
  const scheme = parseSignatureAlgorithm(members.any(), WHAT)
  const signature = members.octets()
  members.optional(1) // unsigned attributes
  members.end()
  return { identifier, digest, scheme, signedAttributes, messageDigest, signature }
}

/** RFC 5652, 5.4: contentType and messageDigest must be there, once each, with one value each; others may. */
function parseAttributes(value: der.Asn1): { signedAttributes: Buffer; messageDigest: Buffer } {
  const members = der.Members.of(value, WHAT)
  const all: der.Asn1[] = []
  const values = new Map<string, der.Asn1>()
  while (members.more) {
    if (all.length >= MAX_ATTRIBUTES) throw der.malformed(WHAT)
    const item = members.any()
    all.push(item)
    const parts = der.Members.ofSequence(item, WHAT)
    const type = parts.oid()
    const content = parts.set()
    const first = content.any()
    if (type === OID.contentType || type === OID.messageDigest) content.end()
    parts.end()
    if (values.has(type)) throw der.malformed(WHAT)
    values.set(type, first)
  }
  const contentType = values.get(OID.contentType)
  const messageDigest = values.get(OID.messageDigest)
  if (!contentType || !messageDigest) throw der.malformed(WHAT)
  if (!der.encode(contentType).equals(der.encode(der.oid(OID.data)))) throw der.malformed(WHAT)
  if (!der.isTag(messageDigest, der.TAG.octetString)) throw der.malformed(WHAT)
  return {
    // in the message they are [0] IMPLICIT and in any order; signed is the SET OF in DER
    signedAttributes: der.encode(der.setOf(...all)),
    messageDigest: der.octetsOf(messageDigest, WHAT),
  }
}

function verifySigner(signer: SignerInfo, content: Buffer, certificate: Certificate): void {
  const why = objection(signer, content, certificate)
  if (why) throw new PlexusError('SIGNATURE', why)
}

/** Why the signature does not count; nothing when it does. */
function objection(signer: SignerInfo, content: Buffer, certificate: Certificate): string | undefined {
  const { digest, scheme } = signer
  if (!identifies(signer.identifier, certificate)) {
    return 'The message was signed with another certificate than the one in the repository.'
  }
  if (!digest || !scheme) return 'The message was signed with an algorithm that is weak or unknown.'
  if (scheme.digest !== undefined && scheme.digest !== digest) {
    return 'The message was signed with two digests that contradict each other.'
  }
  const actual = createHash(digest).update(content).digest()
  const same = actual.length === signer.messageDigest.length && timingSafeEqual(actual, signer.messageDigest)
  if (!same || !checkSignature(signer, digest, scheme, certificate)) {
    return 'The signature of the message is not that of the certificate in the repository.'
  }
  return undefined
}

function checkSignature(
  signer: SignerInfo,
  digest: Digest,
  scheme: SignatureScheme,
  certificate: Certificate,
): boolean {
  const key = certificate.publicKey
  if ((certificate.keyKind === 'rsa') !== (scheme.kind !== 'ecdsa')) return false
  try {
    switch (scheme.kind) {
      case 'pkcs1':
        return verify(
          digest,
          signer.signedAttributes,
          { key, padding: constants.RSA_PKCS1_PADDING },
          signer.signature,
        )
      case 'pss': {
        const padding = constants.RSA_PKCS1_PSS_PADDING
        const options = { key, padding, saltLength: scheme.saltLength }
        return verify(digest, signer.signedAttributes, options, signer.signature)
      }
      case 'ecdsa':
        return verify(digest, signer.signedAttributes, { key, dsaEncoding: 'der' }, signer.signature)
    }
  } catch {
    return false // a signature or a salt length that the key cannot have
  }
}
