import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import { algorithmOf, type Certificate, type Digest, der, type KeyKind } from '../identity/index.js'
import { issuerAndSerial } from './identifier.js'
import type { CarriedKey } from './key-transport.js'

/**
 * How the content key gets to an EC recipient: KeyAgreeRecipientInfo (RFC 5652, 6.2.2) with ephemeral-static ECDH
 * (RFC 5753, 3.1), the X9.63 KDF over SHA-256, and AES-256 key wrap (RFC 3394).
 */
const EC_PUBLIC_KEY = '1.2.840.10045.2.1'
const AES256_WRAP = '2.16.840.1.101.3.4.1.45'
const CURVE_OID: Readonly<Record<'p256' | 'p384', string>> = {
  p256: '1.2.840.10045.3.1.7',
  p384: '1.3.132.0.34',
}
/** dhSinglePass-stdDH-*kdf-scheme. The one with SHA-1, openssl's default, is not among them. */
const SCHEMES: Readonly<Record<string, Digest>> = {
  '1.3.132.1.11.1': 'sha256',
  '1.3.132.1.11.2': 'sha384',
  '1.3.132.1.11.3': 'sha512',
}
const SHA256_SCHEME = '1.3.132.1.11.1'
/** RFC 3394, 2.2.3.1. */
const WRAP_IV = Buffer.alloc(8, 0xa6)
const KEK_BYTES = 32
const WHAT = 'The sealed message'

export function agreeKey(key: Buffer, to: Certificate): der.Asn1 {
  const namedCurve = to.keyKind === 'p384' ? 'secp384r1' : 'prime256v1'
  const ephemeral = generateKeyPairSync('ec', { namedCurve })
  const algorithm = wrapAlgorithm()
  const secret = diffieHellman({ privateKey: ephemeral.privateKey, publicKey: to.publicKey })
  const kek = deriveKek('sha256', secret, algorithm, undefined)
  const wrap = createCipheriv('id-aes256-wrap', kek, WRAP_IV)
  const wrapped = Buffer.concat([wrap.update(key), wrap.final()])
  const originator = der.sequence(der.oid(EC_PUBLIC_KEY))
  return der.tagged(
    1,
    der.integer(3),
    der.tagged(0, der.tagged(1, originator, der.bitString(pointOf(ephemeral.publicKey)))),
    der.sequence(der.oid(SHA256_SCHEME), algorithm),
    der.sequence(der.sequence(issuerAndSerial(to), der.octetString(wrapped))),
  )
}

/** The parameters absent, as RFC 3565, 2.3.2 wants. */
const wrapAlgorithm = (): der.Asn1 => der.sequence(der.oid(AES256_WRAP))

/** @param value the members of `[1] KeyAgreeRecipientInfo` @throws PlexusError MALFORMED */
export function parseAgreement(value: der.Asn1): CarriedKey {
  const members = der.Members.of(value, WHAT)
  if (members.small() !== 3) throw der.malformed(WHAT)
  const point = parseOriginator(members.tagged(0))
  const ukm = members.optional(1)
  const material = ukm && der.Members.of(ukm, WHAT).octets()
  const algorithm = algorithmOf(members.any(), WHAT)
  const recipients = members.sequence()
  members.end()
  const recipient = recipients.sequence()
  recipients.end()
  const identifier = recipient.any()
  const wrapped = recipient.octets()
  recipient.end()
  const digest = SCHEMES[algorithm.oid]
  if (!digest || !algorithm.parameters) throw der.malformed(WHAT)
  const wrap = algorithm.parameters
  const inner = algorithmOf(wrap, WHAT)
  if (inner.oid !== AES256_WRAP || inner.parameters) throw der.malformed(WHAT)
  return {
    recipient: identifier,
    open: async (host) => {
      const publicKey = publicKeyOf(point, host.certificate.keyKind)
      const secret = diffieHellman({ privateKey: host.privateKey, publicKey })
      const kek = deriveKek(digest, secret, wrap, material)
      const unwrap = createDecipheriv('id-aes256-wrap', kek, WRAP_IV)
      return Buffer.concat([unwrap.update(wrapped), unwrap.final()])
    },
  }
}

/** The point of `[0] OriginatorIdentifierOrKey`, which must be a key of its own: `[1] OriginatorPublicKey`. */
function parseOriginator(value: der.Asn1): Buffer {
  const key = der.Members.only(value, WHAT)
  if (!der.isContext(key, 1)) throw der.malformed(WHAT)
  const members = der.Members.of(key, WHAT)
  // the curve may be named, but it is the recipient's in any case (RFC 5753, 3.1.1)
  const algorithm = algorithmOf(members.any(), WHAT)
  if (algorithm.oid !== EC_PUBLIC_KEY) throw der.malformed(WHAT)
  const point = der.bitsOf(members.any(), WHAT)
  members.end()
  // compressed or not (SEC 1, 2.3.3), but not OpenSSL's hybrid of both, which would be a second form of the same
  if (![2, 3, 4].includes(point[0] ?? 0)) throw der.malformed(WHAT)
  return point
}

/** SEC 1, 3.6.1 with the ECC-CMS-SharedInfo of RFC 5753, 7.2. */
function deriveKek(
  digest: Digest,
  secret: Buffer,
  algorithm: der.Asn1,
  material: Buffer | undefined,
): Buffer {
  const bits = Buffer.alloc(4)
  bits.writeUInt32BE(KEK_BYTES * 8)
  const shared = der.sequence(
    algorithm,
    ...(material ? [der.tagged(0, der.octetString(material))] : []),
    der.tagged(2, der.octetString(bits)),
  )
  // each of these digests gives a whole key at once, so the counter is 1 and stays so
  const counter = Buffer.of(0, 0, 0, 1)
  const hash = createHash(digest).update(secret).update(counter).update(der.encode(shared))
  return hash.digest().subarray(0, KEK_BYTES)
}

/** The public point, uncompressed. */
function pointOf(key: KeyObject): Buffer {
  const spki = der.Members.ofSequence(der.decode(key.export({ type: 'spki', format: 'der' }), WHAT), WHAT)
  spki.any()
  return der.bitsOf(spki.any(), WHAT)
}

/** @throws whatever node:crypto throws when the point is not on the curve */
function publicKeyOf(point: Buffer, kind: KeyKind): KeyObject {
  if (kind === 'rsa') throw der.malformed(WHAT)
  const algorithm = der.sequence(der.oid(EC_PUBLIC_KEY), der.oid(CURVE_OID[kind]))
  const spki = der.encode(der.sequence(algorithm, der.bitString(point)))
  return createPublicKey({ key: spki, format: 'der', type: 'spki' })
}
