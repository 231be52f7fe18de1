import { createHash, createPublicKey, type KeyObject, sign, X509Certificate } from 'node:crypto'
import type { Random } from '../net/index.js'
import { signatureAlgorithm } from './algorithm.js'
import { identityUri } from './carried-name.js'
import {
  type Asn1,
  bitString,
  bitsOf,
  decode,
  encode,
  integer,
  Members,
  octetString,
  oid,
  sequence,
  setOf,
  tagged,
  taggedOctets,
  time,
  utf8String,
  yes,
} from './der.js'
import { formatIdentity, type IdentityName } from './name.js'

const DAY = 24 * 3600_000 // ms

/** A pinned identity is replaced by hand, so seldom. */
const YEARS = 10

/** The most characters that a common name may have (RFC 5280, appendix A: ub-common-name). */
const MAX_COMMON_NAME = 64

/** RFC 5280, 4.1.2.2 allows 20 octets; 16 random ones never meet. */
const SERIAL_BYTES = 16

const OID = {
  commonName: '2.5.4.3',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  subjectKeyId: '2.5.29.14',
} as const

/**
 * A certificate that somebody signs for themselves (RFC 5280), in PEM.
 *
 * The identity is the common name, cut after 64 characters, and in full the URI `plexus:<owner>/<pin>` of the
 * subjectAltName, both parts percent-encoded. Nothing is decided by either: who a certificate belongs to is told by
 * the directory that it lies in.
 *
 * @param privateKey RSA or EC
 * @param options `date` in ms since 1970-01-01 UTC
 */
export function selfSign(
  privateKey: KeyObject,
  name: IdentityName,
  options: { random: Random; date: number },
): string {
  const key = privateKey.asymmetricKeyType === 'ec' ? 'ec' : 'rsa'
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  const algorithm = signatureAlgorithm(key, 'sha256')
  const subject = sequence(setOf(sequence(oid(OID.commonName), utf8String(commonName(name)))))
  const expires = new Date(options.date)
  expires.setUTCFullYear(expires.getUTCFullYear() + YEARS)
  const body = sequence(
    tagged(0, integer(2)), // version 3
    integer(serialNumber(options.random)),
    algorithm,
    subject,
    // from yesterday on, so that a peer whose clock is behind does not find it not yet valid
    sequence(time(new Date(options.date - DAY)), time(expires)),
    subject,
    decode(spki, 'The public key'),
    tagged(3, sequence(...extensions(key, name, spki))),
  )
  const signature = sign('sha256', encode(body), privateKey)
  return new X509Certificate(encode(sequence(body, algorithm, bitString(signature)))).toString()
}

function commonName(name: IdentityName): string {
  const characters = [...formatIdentity(name)]
  if (characters.length <= MAX_COMMON_NAME) return characters.join('')
  return `${characters.slice(0, MAX_COMMON_NAME - 1).join('')}…`
}

/** A positive INTEGER whose first octet is neither 0 nor above 127, so that it needs no padding. */
function serialNumber(random: Random): Buffer {
  const serial = Buffer.from(random(SERIAL_BYTES))
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40
  return serial
}

function extensions(key: 'rsa' | 'ec', name: IdentityName, spki: Buffer): Asn1[] {
  const extension = (dotted: string, content: Asn1, ...critical: Asn1[]) =>
    sequence(oid(dotted), ...critical, octetString(encode(content)))
  // digitalSignature with keyEncipherment (bits 0 and 2), or with keyAgreement (bits 0 and 4)
  const usage = key === 'rsa' ? bitString(Buffer.of(0xa0), 5) : bitString(Buffer.of(0x88), 3)
  return [
    extension(OID.basicConstraints, sequence(), yes()), // CA: false
    extension(OID.keyUsage, usage, yes()),
    extension(OID.subjectKeyId, octetString(keyId(spki))),
    extension(OID.subjectAltName, sequence(taggedOctets(6, Buffer.from(identityUri(name), 'latin1')))),
  ]
}

/** The leftmost 160 bits of the SHA-256 of the public key's bits (RFC 7093, 2, method 1). */
function keyId(spki: Buffer): Buffer {
  const what = 'The public key'
  const members = Members.ofSequence(decode(spki, what), what)
  members.any()
  return createHash('sha256').update(bitsOf(members.any(), what)).digest().subarray(0, 20)
}
