import { createHash, type KeyObject, X509Certificate } from 'node:crypto'
import { PlexusError } from '../errors/index.js'
import { parseSignatureAlgorithm, type SignatureScheme } from './algorithm.js'
import { type Asn1, decode, encode, Members, octetsOf, TAG } from './der.js'
import { sortCertificates } from './leaf.js'

/** The kinds of key that this program signs and seals with. */
export type KeyKind = 'rsa' | 'p256' | 'p384'

/** An X.509 certificate of an identity (RFC 5280), with what CMS wants to know of it. */
export interface Certificate {
  readonly der: Buffer
  readonly pem: string
  /** SHA-256 of `der`: 32 bytes. */
  readonly fingerprint: Buffer
  readonly x509: X509Certificate
  readonly publicKey: KeyObject
  readonly keyKind: KeyKind
  /** The issuer's Name, in DER. */
  readonly issuer: Buffer
  /** The serial number: a whole INTEGER, in DER. */
  readonly serial: Buffer
  /** The octets of the subjectKeyIdentifier extension, if there is one. */
  readonly subjectKeyId: Buffer | undefined
  /** From when to when it is valid, in ms since 1970-01-01 UTC. A pinned one is trusted outside of it as well. */
  readonly notBefore: number
  readonly notAfter: number
}

/** What the check of a chain wants to know beyond that. */
export interface CertificateFields {
  readonly issuer: Buffer
  readonly serial: Buffer
  readonly subjectKeyId: Buffer | undefined
  /** The subjectAltName extension in DER, not looked into. */
  readonly subjectAltName: Buffer | undefined
  /** The OIDs of the extensions that nobody may ignore (RFC 5280, 4.2). */
  readonly critical: readonly string[]
  /** How the issuer signed it; nothing if that is weak or unknown. */
  readonly signature: SignatureScheme | undefined
}

const SUBJECT_KEY_ID = '2.5.29.14'
const SUBJECT_ALT_NAME = '2.5.29.17'

/** Real keys end at 4096 bits: beyond that every message costs tens of ms. Below 2048 they are broken. */
const RSA_BITS = { least: 2048, most: 4096 }

const CURVES: Readonly<Record<string, KeyKind>> = { prime256v1: 'p256', secp384r1: 'p384' }

/** What kind of key this is; nothing if it is one that this program does not use. */
export function keyKind(key: KeyObject): KeyKind | undefined {
  const details = key.asymmetricKeyDetails
  if (key.asymmetricKeyType === 'ec') return CURVES[details?.namedCurve ?? '']
  if (key.asymmetricKeyType !== 'rsa') return undefined
  const bits = details?.modulusLength ?? 0
  // with an exponent of 1 everybody could sign
  const sound = (details?.publicExponent ?? 0n) >= 3n
  return sound && bits >= RSA_BITS.least && bits <= RSA_BITS.most ? 'rsa' : undefined
}

const BEGIN = '-----BEGIN CERTIFICATE-----'
const BLOCK = /-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----/g

/**
 * All certificates of a PEM text, as they stand.
 * @param where for the message: a path, or what the text is
 * @throws PlexusError CERTIFICATE_INVALID also when there is none
 */
export function parseBundle(pem: string, where: string): X509Certificate[] {
  const blocks = pem.match(BLOCK)
  if (!blocks) throw new PlexusError('CERTIFICATE_INVALID', `${where} does not contain a PEM certificate.`)
  // one that is cut off or spoilt would be passed over in silence, and another taken for it
  if (pem.split(BEGIN).length - 1 !== blocks.length)
    throw new PlexusError('CERTIFICATE_INVALID', `${where} contains a certificate that cannot be parsed.`)
  return blocks.map((block) => {
    try {
      return new X509Certificate(block)
    } catch (cause) {
      throw new PlexusError('CERTIFICATE_INVALID', `${where} contains a certificate that cannot be parsed.`, {
        cause,
      })
    }
  })
}

/**
 * The certificate of a PEM text, with a key that this program uses. Authorities beside it, as in a full chain, are left out.
 * @throws PlexusError CERTIFICATE_INVALID also when there are several, neither of which issued the other
 */
export function parseCertificate(pem: string, where = 'The text'): Certificate {
  const { leaves } = sortCertificates(parseBundle(pem, where))
  const [x509, other] = leaves
  if (!x509 || other) {
    throw new PlexusError(
      'CERTIFICATE_INVALID',
      `${where} contains several certificates, and it is not clear which one belongs to the identity.`,
      { advice: 'Keep only the certificate of the identity in it.' },
    )
  }
  return certificateOf(x509, where)
}

/** A certificate with a key that this program uses. @throws PlexusError CERTIFICATE_INVALID */
export function certificateOf(x509: X509Certificate, where: string): Certificate {
  const publicKey = publicKeyOf(x509, where)
  const kind = keyKind(publicKey)
  if (!kind) {
    throw new PlexusError(
      'CERTIFICATE_INVALID',
      `The certificate in ${where} is for a key that is neither RSA of 2048 to 4096 bits nor EC on P-256 or P-384.`,
      { advice: 'Create an identity with: plexus id new <owner/pin>.' },
    )
  }
  const { issuer, serial, subjectKeyId } = parseFields(x509.raw, where)
  const { notBefore, notAfter } = validity(x509, where)
  return {
    der: x509.raw,
    pem: x509.toString(),
    fingerprint: createHash('sha256').update(x509.raw).digest(),
    x509,
    publicKey,
    keyKind: kind,
    issuer,
    serial,
    subjectKeyId,
    notBefore,
    notAfter,
  }
}

function publicKeyOf(x509: X509Certificate, where: string): KeyObject {
  try {
    return x509.publicKey
  } catch (cause) {
    throw new PlexusError('CERTIFICATE_INVALID', `The key of the certificate in ${where} cannot be read.`, {
      cause,
    })
  }
}

/** From when to when a certificate is valid, in ms since 1970-01-01 UTC. @throws PlexusError CERTIFICATE_INVALID */
export function validity(x509: X509Certificate, where: string): { notBefore: number; notAfter: number } {
  const notBefore = Date.parse(x509.validFrom)
  const notAfter = Date.parse(x509.validTo)
  if (Number.isNaN(notBefore) || Number.isNaN(notAfter)) {
    throw new PlexusError(
      'CERTIFICATE_INVALID',
      `The validity of the certificate in ${where} cannot be read.`,
    )
  }
  return { notBefore, notAfter }
}

/** Reads what node:crypto does not tell of a certificate (RFC 5280, 4.1). @throws PlexusError CERTIFICATE_INVALID */
export function parseFields(der: Uint8Array, where: string): CertificateFields {
  try {
    return readFields(der)
  } catch (cause) {
    throw new PlexusError('CERTIFICATE_INVALID', `The certificate in ${where} is malformed.`, {
      cause,
    })
  }
}

function readFields(der: Uint8Array): CertificateFields {
  const what = 'The certificate'
  const whole = Members.ofSequence(decode(der, what), what)
  const body = whole.sequence()
  const signature = parseSignatureAlgorithm(whole.any(), what)
  body.optional(0) // version
  const serial = body.any()
  body.any() // signature, the same as outside
  const issuer = body.any()
  body.any() // validity
  body.any() // subject
  body.any() // subjectPublicKeyInfo
  body.optional(1) // issuerUniqueID
  body.optional(2) // subjectUniqueID
  const extensions = body.optional(3)
  const found = extensions ? readExtensions(extensions, what) : NO_EXTENSIONS
  return { issuer: encode(issuer), serial: encode(serial), signature, ...found }
}

type Extensions = Pick<CertificateFields, 'critical' | 'subjectKeyId' | 'subjectAltName'>

const NO_EXTENSIONS: Extensions = { critical: [], subjectKeyId: undefined, subjectAltName: undefined }

function readExtensions(value: Asn1, what: string): Extensions {
  const critical: string[] = []
  let subjectKeyId: Buffer | undefined
  let subjectAltName: Buffer | undefined
  const list = Members.ofSequence(Members.only(value, what), what)
  while (list.more) {
    const extension = list.sequence()
    const dotted = extension.oid()
    const flag = extension.optionalUniversal(TAG.boolean)
    if (flag && flag.value !== '\x00') critical.push(dotted)
    const content = extension.octets()
    extension.end()
    if (dotted === SUBJECT_KEY_ID) subjectKeyId = octetsOf(decode(content, what), what)
    if (dotted === SUBJECT_ALT_NAME) subjectAltName = content
  }
  return { critical, subjectKeyId, subjectAltName }
}
