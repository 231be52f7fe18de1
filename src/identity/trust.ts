import type { KeyObject, X509Certificate } from 'node:crypto'
import { PlexusError } from '../errors/index.js'
import { type Certificate, parseFields, validity } from './certificate.js'

/**
 * The extensions that may be critical: those whose meaning is looked at here or by node:crypto (basicConstraints,
 * keyUsage), and those that say nothing about pairing (subjectAltName, extendedKeyUsage). A certificate with
 * another critical one, such as nameConstraints, must be refused by who does not understand it (RFC 5280, 4.2).
 */
const UNDERSTOOD = new Set(['2.5.29.19', '2.5.29.15', '2.5.29.17', '2.5.29.37'])

/** An authority's key below this is broken; above it, what a user chose to trust. */
const LEAST_RSA_BITS = 2048

/** From when to when something holds, in ms since 1970-01-01 UTC. */
export interface Span {
  readonly from: number
  readonly until: number
}

/** A pinned certificate is trusted as it lies there. */
export const ALWAYS: Span = { from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY }

/**
 * Checks that `certificate` was issued by one of `authorities` and that both are valid at `date`.
 *
 * Every certificate of the bundle is an anchor: the user put it there. A chain over an intermediate authority works
 * when the bundle holds the intermediate one. Checked are the name, the authority's basic constraint and key usage,
 * the signature (no MD5, no SHA-1), both validities, and that no critical extension is unknown. Revocation is not:
 * to take somebody out, remove the directory.
 *
 * @param date ms since 1970-01-01 UTC
 * @param where for the message: the certificate's path
 * @returns for how long that holds
 * @throws PlexusError CERTIFICATE_UNTRUSTED
 */
export function checkChain(
  certificate: Certificate,
  authorities: readonly X509Certificate[],
  date: number,
  where: string,
): Span {
  const refuse = (why: string, advice?: string) =>
    new PlexusError('CERTIFICATE_UNTRUSTED', `The certificate ${where} ${why}.`, advice ? { advice } : {})
  if (date < certificate.notBefore) {
    throw refuse(
      `is not valid before ${instant(certificate.notBefore)}`,
      'Check the clock of this machine, or replace the certificate.',
    )
  }
  if (date > certificate.notAfter) {
    throw refuse(`expired on ${instant(certificate.notAfter)}`, 'Have the CA issue a new one.')
  }
  const fields = parseFields(certificate.der, where)
  if (!fields.signature) throw refuse('is signed with an algorithm that is weak or unknown')
  if (!fields.critical.every((oid) => UNDERSTOOD.has(oid))) {
    throw refuse('has an unknown critical extension')
  }
  const named = authorities.filter((authority) => certificate.x509.checkIssued(authority))
  const issuer = named.find((authority) => authority.ca && signedBy(certificate.x509, authority))
  if (!issuer) throw refuse('was not issued by an authority of ca.crt')
  const { notBefore, notAfter } = validity(issuer, 'ca.crt')
  if (date < notBefore || date > notAfter) {
    throw refuse('was issued by an authority of ca.crt whose certificate is not valid now')
  }
  if (!parseFields(issuer.raw, 'ca.crt').critical.every((oid) => UNDERSTOOD.has(oid))) {
    throw refuse('was issued by an authority of ca.crt that has an unknown critical extension')
  }
  return {
    from: Math.max(notBefore, certificate.notBefore),
    until: Math.min(notAfter, certificate.notAfter),
  }
}

function signedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  try {
    const key = authority.publicKey
    return strong(key) && certificate.verify(key)
  } catch {
    return false
  }
}

function strong(key: KeyObject): boolean {
  const bits = key.asymmetricKeyDetails?.modulusLength
  return bits === undefined || bits >= LEAST_RSA_BITS
}

/** For a person, to the second, in UTC. */
function instant(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}
