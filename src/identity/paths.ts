import { join } from 'node:path'

/** Where the files of an identity lie, or would. */
export interface IdentityPaths {
  readonly certificate: string
  readonly privateKey: string
  /** During a rollover: the certificate that is accepted beside the other, and will take its place. */
  readonly nextCertificate: string
  readonly nextPrivateKey: string
  readonly ca: string
  /** Of a peer: the dialect that it is spoken with. */
  readonly dialect: string
}

/** The files of the identity that has this directory. */
export function pathsIn(directory: string): IdentityPaths {
  return {
    certificate: join(directory, 'cert.crt'),
    privateKey: join(directory, 'private.key'),
    nextCertificate: join(directory, 'cert.next.crt'),
    nextPrivateKey: join(directory, 'private.next.key'),
    ca: join(directory, 'ca.crt'),
    dialect: join(directory, 'dialect'),
  }
}
