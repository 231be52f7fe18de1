import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { codeOf, PlexusError } from '../../src/errors/index.js'
import { readSecretFile } from './secret-file.js'

/** Where systems keep the authorities that they trust: Debian, Fedora, openSUSE, Alpine. The first that is there counts. */
const SYSTEM_AUTHORITIES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** The files that trust is made of. */
export interface TrustFiles {
  /** PEM of the authorities to trust in place of those of the system. */
  readonly ca?: string | undefined
  /** PEM of a client certificate, and of its private key. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

/** Whom servers' certificates must chain to, and what is shown to a server that wants one of the client. */
export class Trust {
  readonly #files: TrustFiles
  readonly #environment: Readonly<Record<string, string | undefined>>
  #made: { readonly context: SecureContext; readonly of: string }

  /** @throws PlexusError BAD_FLAG, KEY_READABLE */
  constructor(files: TrustFiles, environment: Readonly<Record<string, string | undefined>> = {}) {
    this.#files = files
    this.#environment = environment
    if ((files.cert === undefined) !== (files.key === undefined))
      throw new PlexusError(
        'BAD_FLAG',
        '--email-cert and --email-key must be given together: one of them is missing.',
      )
    this.#made = { context: this.#make(), of: this.#stamp() }
  }

  /** For the next connection. Certificates are renewed while a program runs for a year: what has changed is read anew. */
  context(): SecureContext {
    const of = this.#stamp()
    if (of === this.#made.of) return this.#made.context
    try {
      this.#made = { context: this.#make(), of }
    } catch {
      // half written, most likely: what was good a moment ago is used until it can be read again
    }
    return this.#made.context
  }

  #make(): SecureContext {
    const { ca, cert, key } = this.#files
    const options = {
      minVersion: 'TLSv1.2' as const,
      ca: ca === undefined ? this.#ofSystem() : certificatesOf('email-ca', read('email-ca', ca)),
      ...(cert === undefined ? {} : { cert: read('email-cert', cert) }),
      ...(key === undefined ? {} : { key: read('email-key', key) }),
    }
    try {
      return createSecureContext(options)
    } catch (cause) {
      // no cause: what the parser has to say may quote the key
      const why = String(codeOf(cause) ?? 'unreadable')
      const which = cert === undefined ? '--email-ca' : '--email-cert and --email-key'
      throw new PlexusError('BAD_FLAG', `${which} cannot be used: ${why}.`, {
        advice: 'Give PEM files, a key without a passphrase, and the key that belongs to the certificate.',
      })
    }
  }

  /** Those that node brings along and those of the machine: each may have been left behind by the other. */
  #ofSystem(): string[] {
    const found = new Set(rootCertificates.map((pem) => pem.trim()))
    for (const path of this.#bundles()) {
      try {
        for (const [pem] of readFileSync(path, 'latin1').matchAll(CERTIFICATE)) found.add(pem)
      } catch {
        // a machine without such a file has node's
      }
    }
    return [...found]
  }

  /** The variables are those that OpenSSL and node know. */
  #bundles(): string[] {
    const { SSL_CERT_FILE, NODE_EXTRA_CA_CERTS } = this.#environment
    const system = SSL_CERT_FILE || SYSTEM_AUTHORITIES.find((path) => stampOf(path) !== '')
    return [system, NODE_EXTRA_CA_CERTS].filter((path) => path !== undefined && path !== '') as string[]
  }

  /** Changes when a file does. */
  #stamp(): string {
    const { ca, cert, key } = this.#files
    return [...(ca === undefined ? this.#bundles() : [ca]), cert, key]
      .map((path) => (path === undefined ? '' : stampOf(path)))
      .join(' ')
  }
}

function stampOf(path: string): string {
  try {
    const { ino, mtimeMs, size } = statSync(path)
    return `${ino} ${mtimeMs} ${size}`
  } catch {
    return '' // what is wrong with it, whoever reads it says
  }
}

function read(name: 'email-ca' | 'email-cert' | 'email-key', path: string): Buffer {
  try {
    return name === 'email-key' ? readSecretFile(path) : readFileSync(path)
  } catch (cause) {
    if (cause instanceof PlexusError) throw cause
    const why = codeOf(cause)
    throw new PlexusError('BAD_FLAG', `--${name} is '${path}', but should be a PEM file (${why}).`, { cause })
  }
}

/** A file without any certificate would mean that nobody is trusted, and say so only much later. */
function certificatesOf(name: string, pem: Buffer): string[] {
  const found = pem.toString('latin1').match(CERTIFICATE) ?? []
  if (found.length > 0) return found
  throw new PlexusError('BAD_FLAG', `The file of --${name} holds no certificate in PEM.`)
}
