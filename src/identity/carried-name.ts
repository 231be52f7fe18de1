import { type Certificate, parseFields } from './certificate.js'
import { decode, isContext, Members, primitiveOctets } from './der.js'
import { type IdentityName, isIdentityName } from './name.js'

/** How the URI begins by which a certificate carries its identity, in the subjectAltName. */
const SCHEME = 'plexus:'

/**
 * The identity as the URI `plexus:<owner>/<pin>`, both parts percent-encoded, so that any name fits and only one
 * text stands for it.
 */
export function identityUri(name: IdentityName): string {
  return `${SCHEME}${encodeURIComponent(name.owner)}/${encodeURIComponent(name.pin)}`
}

/**
 * The identity that a certificate carries: what its maker says whom it is for, which proves nothing.
 * @returns nothing when it carries none, or not in the one form that `identityUri` writes
 */
export function carriedName(certificate: Pick<Certificate, 'der'>): IdentityName | undefined {
  try {
    const { subjectAltName } = parseFields(certificate.der, 'the text')
    if (!subjectAltName) return undefined
    const what = 'The subjectAltName'
    const names = Members.ofSequence(decode(subjectAltName, what), what)
    while (names.more) {
      const item = names.any()
      if (!isContext(item, 6)) continue // not a URI (RFC 5280, 4.2.1.6)
      const name = parseUri(primitiveOctets(item, what).toString('latin1'))
      if (name) return name
    }
  } catch {
    // a foreign certificate may have anything there
  }
  return undefined
}

function parseUri(uri: string): IdentityName | undefined {
  const [owner, pin] = uri.slice(SCHEME.length).split('/').map(decodeURIComponent)
  if (owner === undefined || pin === undefined) return undefined
  const name = { owner, pin }
  return isIdentityName(name) && identityUri(name) === uri ? name : undefined
}
