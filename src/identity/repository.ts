import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import { type Certificate, keyKind, parseBundle, parseCertificate } from './certificate.js'
import { isInside, readConfined } from './confined.js'
import { checkIdentityName, formatIdentity, type IdentityName, isIdentityName } from './name.js'
import { checkChain } from './trust.js'

/** An identity of one's own. */
export interface Host {
  readonly name: IdentityName
  readonly certificate: Certificate
  readonly privateKey: KeyObject
}

/** Where the files of an identity lie, or would. */
export interface IdentityPaths {
  readonly certificate: string
  readonly privateKey: string
  readonly ca: string
}

/** How many directories are read at a time: enough to hide the latency of a network file system. */
const READ_AHEAD = 32

/**
 * The application repository: `<path>/<owner>/<pin>/{cert.crt,private.key,ca.crt}`. Who has a directory in it may
 * pair; nothing in it is read before it is needed, and nothing is kept, so a change counts from the next message on.
 */
export class Repository {
  readonly path: string
  /** `path` without symbolic links. */
  readonly #root: string

  private constructor(path: string, root: string) {
    this.path = path
    this.#root = root
  }

  /** @throws PlexusError REPOSITORY when there is no directory at `path` that can be read */
  static async open(path: string): Promise<Repository> {
    try {
      const root = await realpath(path)
      await readdir(root)
      return new Repository(path, root)
    } catch (cause) {
      throw new PlexusError('REPOSITORY', `There is no application repository at ${path} that can be read.`, {
        cause,
      })
    }
  }

  paths(name: IdentityName): IdentityPaths {
    checkIdentityName(name)
    const directory = join(this.path, name.owner, name.pin)
    return {
      certificate: join(directory, 'cert.crt'),
      privateKey: join(directory, 'private.key'),
      ca: join(directory, 'ca.crt'),
    }
  }

  /**
   * Every identity that has a directory, sorted. Only directory entries are read, no file below them. Entries whose
   * names begin with a dot (`.git`, `.stfolder`) are not listed, nor are those whose names are no identity's.
   */
  async list(): Promise<IdentityName[]> {
    const owners = await this.#directories(this.#root)
    const names: IdentityName[] = []
    for (let at = 0; at < owners.length; at += READ_AHEAD) {
      const batch = owners.slice(at, at + READ_AHEAD).map(async (owner) => {
        const pins = await this.#directories(join(this.#root, owner))
        return pins.map((pin) => ({ owner, pin }))
      })
      names.push(...(await Promise.all(batch)).flat())
    }
    return names.filter(isIdentityName)
  }

  async #directories(path: string): Promise<string[]> {
    let entries: Dirent[]
    try {
      entries = await readdir(path, { withFileTypes: true })
    } catch {
      return [] // gone since, or not ours to read: nobody who could be let in
    }
    const names: string[] = []
    for (const entry of entries) {
      if (entry.name.startsWith('.')) continue
      const plain =
        entry.isDirectory() || (entry.isSymbolicLink() && (await this.#leads(join(path, entry.name))))
      if (plain) names.push(entry.name)
    }
    return names.sort()
  }

  /** Whether the path leads to a directory inside the repository. */
  async #leads(path: string): Promise<boolean> {
    try {
      const real = await realpath(path)
      return isInside(this.#root, real) && (await stat(real)).isDirectory()
    } catch {
      return false
    }
  }

  /** Whether the identity has a directory: whether it may pair. A name that is none has not. */
  async has(name: IdentityName): Promise<boolean> {
    return isIdentityName(name) && (await this.#leads(join(this.#root, name.owner, name.pin)))
  }

  /**
   * An identity of one's own: certificate and private key.
   * @throws PlexusError IDENTITY_NAME, IDENTITY_MISSING, CERTIFICATE_INVALID, KEY_MISSING, KEY_READABLE, KEY_INVALID
   */
  async host(name: IdentityName): Promise<Host> {
    const paths = this.paths(name)
    const certificate = await this.#readCertificate(name)
    const file = await readConfined(this.#root, paths.privateKey)
    if (file.state === 'absent') {
      throw new PlexusError('KEY_MISSING', `There is no private key at ${paths.privateKey}.`)
    }
    if (file.state === 'refused') {
      throw new PlexusError('KEY_INVALID', `The private key ${paths.privateKey} ${file.why}.`, {
        advice: 'Put a readable PEM file there, inside the repository.',
        cause: file.cause,
      })
    }
    checkPrivate(paths.privateKey, file.mode, file.uid)
    const privateKey = parsePrivateKey(file.text, paths.privateKey)
    if (!certificate.x509.checkPrivateKey(privateKey)) {
      throw new PlexusError('KEY_INVALID', `${paths.privateKey} is not the key of ${paths.certificate}.`, {
        advice: 'Put the certificate and the private key that belong together there.',
      })
    }
    return { name, certificate, privateKey }
  }

  /**
   * The certificate of a peer, trusted: as it stands (pinned; then even when it has expired, see
   * `Certificate.notAfter`), or, if `host` has a `ca.crt`, because it chains to that at `date`.
   * @param options `date` in ms since 1970-01-01 UTC
   * @throws PlexusError IDENTITY_NAME, IDENTITY_MISSING, CERTIFICATE_INVALID, CERTIFICATE_UNTRUSTED
   */
  async certificate(name: IdentityName, options: { host: IdentityName; date: number }): Promise<Certificate> {
    const certificate = await this.#readCertificate(name)
    const authorities = await this.#authorities(options.host)
    if (authorities) checkChain(certificate, authorities, options.date, this.paths(name).certificate)
    return certificate
  }

  async #readCertificate(name: IdentityName): Promise<Certificate> {
    const path = this.paths(name).certificate
    const file = await readConfined(this.#root, path)
    if (file.state === 'absent') {
      throw new PlexusError(
        'IDENTITY_MISSING',
        `There is no certificate of ${formatIdentity(name)} at ${path}.`,
      )
    }
    if (file.state === 'refused') {
      throw new PlexusError('CERTIFICATE_INVALID', `The certificate ${path} ${file.why}.`, {
        advice: 'Put a readable PEM file there, inside the repository.',
        cause: file.cause,
      })
    }
    return parseCertificate(file.text, path)
  }

  /** The certificates of the host's `ca.crt`; nothing if it has none. One that cannot be read is never none. */
  async #authorities(host: IdentityName): Promise<X509Certificate[] | undefined> {
    const path = this.paths(host).ca
    const file = await readConfined(this.#root, path)
    if (file.state === 'absent') return undefined
    if (file.state === 'refused') {
      throw new PlexusError('CERTIFICATE_UNTRUSTED', `The authority ${path} ${file.why}.`, {
        advice:
          'Put a readable PEM file there, inside the repository, or remove it to trust pinned certificates.',
        cause: file.cause,
      })
    }
    return parseBundle(file.text, path)
  }
}

/** As ssh does: a key that others can read is a key that others may have. @throws PlexusError KEY_READABLE */
function checkPrivate(path: string, mode: number, uid: number): void {
  const own = process.getuid?.()
  if (own === undefined) return // a system without such modes
  if (uid !== own && uid !== 0) {
    throw new PlexusError('KEY_READABLE', `The private key ${path} belongs to another user (uid ${uid}).`, {
      advice: `Run chown ${own} on it, and chmod 600.`,
    })
  }
  if ((mode & 0o077) !== 0) {
    const octal = mode.toString(8).padStart(4, '0')
    throw new PlexusError('KEY_READABLE', `The private key ${path} is open to other users (mode ${octal}).`, {
      advice: `Run chmod 600 ${path}`,
    })
  }
}

function parsePrivateKey(pem: string, path: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem)) {
    throw new PlexusError('KEY_INVALID', `The private key ${path} is protected by a passphrase.`, {
      advice: 'Nobody is there to type it: take it off with openssl pkey -in old.key -out private.key.',
    })
  }
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch {
    // no cause: what the parser has to say may quote the key
    throw new PlexusError('KEY_INVALID', `The private key ${path} cannot be read as PEM.`)
  }
  if (!keyKind(key)) {
    throw new PlexusError(
      'KEY_INVALID',
      `The private key ${path} is neither RSA of 2048 to 4096 bits nor EC on P-256 or P-384.`,
    )
  }
  return key
}
