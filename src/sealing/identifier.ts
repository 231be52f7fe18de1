import { type Certificate, der } from '../identity/index.js'

/**
 * How CMS names the certificate of a signer or a recipient (RFC 5652, 5.3 and 6.2.1): by issuer and serial number,
 * which is what is written here, or by its subjectKeyIdentifier, which is understood too.
 */
export function issuerAndSerial(certificate: Certificate): der.Asn1 {
  const what = 'The certificate'
  return der.sequence(der.decode(certificate.issuer, what), der.decode(certificate.serial, what))
}

/** Whether an identifier as it was read means this certificate. */
export function identifies(identifier: der.Asn1, certificate: Certificate): boolean {
  if (der.isTag(identifier, der.TAG.sequence)) {
    // both encoded anew, so that the form in which the message has it does not matter
    return der.encode(identifier).equals(der.encode(issuerAndSerial(certificate)))
  }
  if (!der.isContext(identifier, 0) || !certificate.subjectKeyId) return false
  return keyIdentifier(identifier).equals(certificate.subjectKeyId)
}

/** `[0] IMPLICIT SubjectKeyIdentifier`, or `[0] IMPLICIT RecipientKeyIdentifier`, which begins with one. */
function keyIdentifier(identifier: der.Asn1): Buffer {
  const what = 'The identifier of a certificate'
  if (!identifier.constructed) return der.primitiveOctets(identifier, what)
  return der.Members.of(identifier, what).octets()
}
