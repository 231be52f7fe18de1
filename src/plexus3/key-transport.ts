import { constants, privateDecrypt, publicEncrypt, randomBytes } from 'node:crypto'
import { type Certificate, der, type Host } from '../identity/index.js'
import { issuerAndSerial } from '../sealing/index.js'

/**
 * How the content key gets to a plexus 3.x peer: KeyTransRecipientInfo (RFC 5652, 6.2.1) with RSAES-PKCS1-v1_5, the
 * only way that its PKCS#7 knows.
 */
export const RSA_ENCRYPTION = '1.2.840.113549.1.1.1'

export function transportKey(key: Buffer, to: Certificate): der.Asn1 {
  const encrypted = publicEncrypt({ key: to.publicKey, padding: constants.RSA_PKCS1_PADDING }, key)
  return der.sequence(
    der.integer(0),
    issuerAndSerial(to),
    der.sequence(der.oid(RSA_ENCRYPTION), der.nothing()),
    der.octetString(encrypted),
  )
}

/**
 * The content key, or, when the padding is not that of a key of this length, another one that nobody knows: to tell
 * the two apart is what Bleichenbacher's attack needs (RFC 3218, 2.3). The RSA operation is node:crypto's, and
 * without padding; what follows has no branch and no index that depends on what came out of it.
 * @param length of the key, in bytes: what the cipher of the content wants
 */
export function openKey(encrypted: Buffer, host: Host, length: number): Buffer {
  const substitute = randomBytes(length)
  const modulus = Math.ceil((host.privateKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
  // what is said here of the sizes is public: they stand in the message
  if (encrypted.length !== modulus || modulus < length + 11) return substitute
  const padded = privateDecrypt({ key: host.privateKey, padding: constants.RSA_NO_PADDING }, encrypted)
  const good = isPadded(padded, length)
  const key = Buffer.alloc(length)
  for (let at = 0; at < length; at++) {
    const own = padded[padded.length - length + at] ?? 0
    key[at] = (own & good) | ((substitute[at] ?? 0) & ~good)
  }
  padded.fill(0)
  return key
}

/** 0xff for `00 02 <no zeros> 00 <key>` (RFC 8017, 7.2.1), else 0; in a time that says nothing of which. */
function isPadded(padded: Buffer, length: number): number {
  const separator = padded.length - length - 1
  let wrong = (padded[0] ?? 1) | ((padded[1] ?? 0) ^ 2) | (padded[separator] ?? 1)
  for (let at = 2; at < separator; at++) wrong |= zeroMask(padded[at] ?? 0)
  return zeroMask(wrong & 0xff)
}

/** 0xff for 0, 0 for 1 to 255. */
function zeroMask(byte: number): number {
  return ((byte - 1) >> 8) & 0xff
}
