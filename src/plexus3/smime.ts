import { createHash, randomBytes } from 'node:crypto'
import { PlexusError } from '../errors/index.js'
import type { Certificate, Host } from '../identity/index.js'
import { parseSigned, signContent } from '../sealing/index.js'
import { envelop, openEnvelope } from './enveloped.js'
import {
  boundaryOf,
  isType,
  readBase64,
  readEntity,
  readParts,
  toCrlf,
  toLf,
  writeBase64,
  writeEnveloped,
} from './mime.js'

/** S/MIME (RFC 8551) as a plexus 3.x peer wants it: signed and detached, then enveloped for one RSA recipient. */

/** A mail of a peer has some 3 kB; a recipient with a key of 4096 bits makes it 4. */
const MAX_ENTITY = 65_536

const ENVELOPED = /^application\/(x-)?pkcs7-mime\s*(;|$)/i
const SIGNED = /^multipart\/signed\s*;/i
const SIGNATURE = /^application\/(x-)?pkcs7-signature\s*(;|$)/i

/** What was opened: signed by whom the caller named, for this host. */
export interface Opened {
  /** The text that was signed. */
  readonly text: string
  /** SHA-256 of what was signed, 32 bytes: the same however often the mail is sent, and to whom. */
  readonly digest: Buffer
}

/**
 * Signs a line for the peer and seals it: an entity with its own headers and CRLF.
 * @throws PlexusError DIALECT unless both keys are RSA
 */
export async function sealEntity(text: string, from: Host, to: Certificate): Promise<string> {
  requireRsa(from.certificate)
  requireRsa(to)
  const signed = await signEntity(text, from)
  return toCrlf(writeEnveloped(envelop(Buffer.from(signed), to)))
}

/** RFC 1847: what is signed has CRLF, and not the line end before the delimiter. */
async function signEntity(text: string, from: Host): Promise<string> {
  const content = toCrlf(text)
  const signature = await signContent(Buffer.from(content), from, 'detached')
  const boundary = `----${randomBytes(16).toString('hex').toUpperCase()}`
  return toCrlf(
    'MIME-Version: 1.0\n' +
      'Content-Type: multipart/signed; protocol="application/x-pkcs7-signature"; micalg="sha-256"; ' +
      `boundary="${boundary}"\n\n` +
      'This is an S/MIME signed message\n\n' +
      `--${boundary}\n${content}\n--${boundary}\n` +
      'Content-Type: application/x-pkcs7-signature; name="smime.p7s"\n' +
      'Content-Transfer-Encoding: base64\n' +
      'Content-Disposition: attachment; filename="smime.p7s"\n\n' +
      `${writeBase64(signature)}\n--${boundary}--\n\n`,
  )
}

/**
 * Opens an entity that is for this host, and takes it only if `from` signed it.
 *
 * Whatever goes wrong, on the outside, in the envelope or in the signature, is one and the same error, without a
 * cause: neither RSA with PKCS#1 v1.5 nor CBC bears it that somebody learns which step refused his variation.
 * @throws PlexusError UNSEALABLE; DIALECT unless both keys are RSA
 */
export function openEntity(entity: string, host: Host, from: Certificate): Opened {
  requireRsa(host.certificate)
  requireRsa(from)
  try {
    return verifyEntity(openLayer(entity, host), from)
  } catch {
    throw new PlexusError('UNSEALABLE', 'The mail of the plexus 3.x peer cannot be opened and verified.')
  }
}

function openLayer(entity: string, host: Host): string {
  if (entity.length > MAX_ENTITY) throw new RangeError('too long')
  const outer = readEntity(toLf(entity))
  if (!isType(outer, ENVELOPED) || !isBase64(outer.headers)) throw new TypeError('not enveloped')
  return toLf(openEnvelope(readBase64(outer.body), host).toString('latin1'))
}

function verifyEntity(text: string, from: Certificate): Opened {
  const entity = readEntity(text)
  if (!isType(entity, SIGNED)) throw new TypeError('not signed')
  const [content = '', second = ''] = readParts(entity.body, boundaryOf(entity), 2)
  const part = readEntity(second)
  if (!isType(part, SIGNATURE) || !isBase64(part.headers)) throw new TypeError('no signature')
  const signed = Buffer.from(toCrlf(content), 'latin1')
  parseSigned(readBase64(part.body), signed).verify(from)
  return { text: signed.toString('latin1'), digest: createHash('sha256').update(signed).digest() }
}

function isBase64(headers: ReadonlyMap<string, string>): boolean {
  return headers.get('content-transfer-encoding')?.toLowerCase() === 'base64'
}

/**
 * PKCS#7 knows no key agreement, and the peer's verification no ECDSA that could be relied upon.
 * @throws PlexusError DIALECT
 */
export function requireRsa(certificate: Certificate): void {
  if (certificate.keyKind === 'rsa') return
  const subject = certificate.x509.subject.replaceAll('\n', ', ')
  throw new PlexusError(
    'DIALECT',
    `The certificate of ${subject} has an EC key, which plexus 3.x peers cannot use.`,
  )
}
