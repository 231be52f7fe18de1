import type { X509Certificate } from 'node:crypto'

/**
 * What the certificates of one file are to each other. Where one stands says nothing: programs write the chain of a
 * server's certificate in either order, and an authority's key must never be taken for that of a peer.
 */
export interface Sorted {
  /** Those that issued no other in the file: whose key speaks for somebody. In the order of their beginning. */
  readonly leaves: readonly X509Certificate[]
  /** Those that issued another one. */
  readonly authorities: readonly X509Certificate[]
}

/** Sorts the certificates of a file; one that comes twice counts once. */
export function sortCertificates(bundle: readonly X509Certificate[]): Sorted {
  const distinct = [...new Map(bundle.map((each) => [each.fingerprint256, each])).values()]
  const authority = (one: X509Certificate) => distinct.some((other) => other !== one && issuedBy(other, one))
  const start = ({ validFrom }: X509Certificate) => Date.parse(validFrom)
  return {
    leaves: distinct.filter((each) => !authority(each)).sort((a, b) => start(a) - start(b)),
    authorities: distinct.filter(authority),
  }
}

function issuedBy(child: X509Certificate, parent: X509Certificate): boolean {
  try {
    return child.verify(parent.publicKey)
  } catch {
    return false // another kind of key
  }
}
