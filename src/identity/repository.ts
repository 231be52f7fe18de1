import type { KeyObject, X509Certificate } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { asPlexusError, codeWord, PlexusError } from '../errors/index.js'
import { replaceFile } from '../files/index.js'
import { type Certificate, parseBundle, parseCertificate } from './certificate.js'
import { ABSENT, entryExists, isCode, isInside, readConfined, refusal, unclear } from './confined.js'
import { unwritable } from './create.js'
import { type Dialect, parseDialect } from './dialect.js'
import {
  checkIdentityName,
  formatIdentity,
  type IdentityName,
  isIdentityName,
  parseIdentity,
} from './name.js'
import { type IdentityPaths, pathsIn } from './paths.js'
import { checkPrivate, parsePrivateKey } from './private-key.js'
import { type IdentityRecord, keyFile } from './record.js'
import { addRevoked, parseRevoked, type Revoked } from './revoked.js'
import { chooseIdentity } from './short-name.js'
import { ALWAYS, checkChain, type Span } from './trust.js'

/** An identity of this machine, with its private key. */
export interface Host {
  readonly name: IdentityName
  readonly certificate: Certificate
  readonly privateKey: KeyObject
  /** During a rollover: the pair that will take this one's place. What peers seal to either is opened. */
  readonly next?: Host
}

/** A certificate, and from when to when it is trusted. */
export interface Trusted extends Span {
  readonly certificate: Certificate
}

/** What the system says of a file that belongs to somebody else. */
const UNREADABLE = /EACCES|EPERM/

export interface ListOptions {
  /** Is told of a directory that cannot be read: whoever is in it is not in the list. */
  readonly unreadable?: (error: PlexusError) => void
}

/** How many directories are read at a time: enough to hide the latency of a network file system. */
const READ_AHEAD = 32

/**
 * The application repository: `<path>/<owner>/<pin>/{cert.crt,private.key,ca.crt}`, and during a rollover
 * `cert.next.crt` and `private.next.key` beside them. Who has a directory in it may pair; nothing in it is read
 * before it is needed, and nothing is kept, so a change counts from the next message on.
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
      const why = isCode(cause, ...ABSENT) ? '' : ` (${codeWord(cause)})`
      throw new PlexusError('REPOSITORY', `There is no readable repository at ${path}${why}.`, { cause })
    }
  }

  paths(name: IdentityName): IdentityPaths {
    checkIdentityName(name)
    return pathsIn(join(this.path, name.owner, name.pin))
  }

  /**
   * Every identity that has a directory, sorted. Only directory entries are read, no file below them. Entries whose
   * names begin with a dot (`.git`, `.stfolder`) are not listed, nor are those whose names are no identity's.
   */
  async list({ unreadable = () => {} }: ListOptions = {}): Promise<IdentityName[]> {
    const owners = await this.#directories(this.#root, unreadable)
    const names: IdentityName[] = []
    for (let at = 0; at < owners.length; at += READ_AHEAD) {
      const batch = owners.slice(at, at + READ_AHEAD).map(async (owner) => {
        const pins = await this.#directories(join(this.#root, owner), unreadable)
        return pins.map((pin) => ({ owner, pin }))
      })
      names.push(...(await Promise.all(batch)).flat())
    }
    return names.filter(isIdentityName)
  }

  async #directories(path: string, unreadable: (error: PlexusError) => void): Promise<string[]> {
    let entries: Dirent[]
    try {
      entries = await readdir(path, { withFileTypes: true })
    } catch (thrown) {
      // gone since, or not ours to read: nobody who could be let in
      if (!isCode(thrown, ...ABSENT)) unreadable(unclear(path, thrown))
      return []
    }
    const names: string[] = []
    for (const entry of entries) {
      if (entry.name.startsWith('.')) continue
      const plain =
        entry.isDirectory() ||
        (entry.isSymbolicLink() && (await this.#leads(join(path, entry.name)).catch(() => false)))
      if (plain) names.push(entry.name)
    }
    return names.sort()
  }

  /** Whether the path leads to a directory inside the repository. @throws PlexusError REPOSITORY where nobody can tell */
  async #leads(path: string): Promise<boolean> {
    try {
      const real = await realpath(path)
      return isInside(this.#root, real) && (await stat(real)).isDirectory()
    } catch (thrown) {
      if (isCode(thrown, ...ABSENT)) return false
      throw unclear(path, thrown)
    }
  }

  /**
   * Whether the identity has a directory: whether it may pair. A name that is none has not.
   * @throws PlexusError REPOSITORY where the file system does not tell
   */
  async has(name: IdentityName): Promise<boolean> {
    return isIdentityName(name) && (await this.#leads(join(this.#root, name.owner, name.pin)))
  }

  /**
   * Whom a person means by `owner/pin`, or, where only one fits, by the pin or the owner alone.
   * @param options `own`: only identities with a private key are meant
   * @throws PlexusError IDENTITY_NAME, IDENTITY_MISSING, IDENTITY_AMBIGUOUS
   */
  async resolve(text: string, options: { own?: boolean } = {}): Promise<IdentityName> {
    if (text.includes('/')) return parseIdentity(text)
    checkIdentityName({ owner: text, pin: text })
    const fitting = (await this.list()).filter(({ owner, pin }) => owner === text || pin === text)
    const meant: IdentityName[] = []
    for (const name of fitting) {
      if (!options.own || (await this.hasKey(name))) meant.push(name)
    }
    return chooseIdentity(text, meant, options.own ?? false)
  }

  /** Whether there is a private key of this identity, readable or not: whether it is this machine's. */
  hasKey(name: IdentityName): Promise<boolean> {
    return entryExists(this.paths(name).privateKey)
  }

  /**
   * A text that changes whenever a file of an own identity may have changed: four looks at the file system, however
   * large the repository. What cannot be looked at counts as absent.
   */
  stamp(name: IdentityName): Promise<string> {
    const { certificate, privateKey, nextCertificate, nextPrivateKey } = this.paths(name)
    return stampOf([certificate, privateKey, nextCertificate, nextPrivateKey])
  }

  /** The same for what decides whether a peer may pair with `host`. */
  peerStamp(name: IdentityName, host: IdentityName): Promise<string> {
    const { certificate, nextCertificate } = this.paths(name)
    return stampOf([certificate, nextCertificate, this.paths(host).ca, this.revokedPath])
  }

  /**
   * The dialect that this peer is spoken with, as the file `dialect` in its directory says; nothing without one.
   * @throws PlexusError BAD_CONFIG for a file that cannot be read or holds something else
   */
  async dialect(name: IdentityName): Promise<Dialect | undefined> {
    const path = this.paths(name).dialect
    const file = await readConfined(this.#root, path)
    if (file.state === 'absent') return undefined
    if (file.state === 'read') return parseDialect(file.text, path)
    const advice = 'Put a readable file with one word there, inside the repository, or remove it.'
    throw refusal(`The dialect ${path}`, file, 'BAD_CONFIG', advice)
  }

  /**
   * An identity of this machine: certificate and private key, and those that come next if a rollover is under way.
   * @throws PlexusError IDENTITY_NAME, IDENTITY_MISSING, CERTIFICATE_INVALID, KEY_MISSING, KEY_READABLE, KEY_INVALID
   */
  async host(name: IdentityName): Promise<Host> {
    const paths = this.paths(name)
    const current = await this.#keyPair(name, paths.certificate, paths.privateKey)
    // either file alone is no pair: it is on its way in or out
    const rollover = (await entryExists(paths.nextCertificate)) && (await entryExists(paths.nextPrivateKey))
    if (!rollover) return current
    return { ...current, next: await this.#keyPair(name, paths.nextCertificate, paths.nextPrivateKey) }
  }

  async #keyPair(name: IdentityName, certificatePath: string, keyPath: string): Promise<Host> {
    const certificate = await this.#readCertificate(name, certificatePath)
    const file = await readConfined(this.#root, keyPath, { secret: true })
    if (file.state === 'absent') {
      throw new PlexusError('KEY_MISSING', `There is no private key at ${keyPath}.`)
    }
    if (file.state === 'refused') {
      const advice = UNREADABLE.test(file.why)
        ? 'Run plexus as the user that owns it; for a systemd service use LoadCredential= (docs/operating.md).'
        : 'Put a readable PEM file there, inside the repository.'
      throw refusal(`The private key ${keyPath}`, file, 'KEY_INVALID', advice)
    }
    checkPrivate(keyPath, file.owner)
    const privateKey = parsePrivateKey(file.text, keyPath)
    if (!certificate.x509.checkPrivateKey(privateKey)) {
      throw new PlexusError('KEY_INVALID', `${keyPath} is not the key of ${certificatePath}.`, {
        advice:
          'Put a matching certificate and private key there. If plexus id renew --finish was interrupted, run it again.',
      })
    }
    return { name, certificate, privateKey }
  }

  /**
   * The certificate of a peer, trusted: as it stands (pinned; then even when it has expired, see
   * `Certificate.notAfter`), or, if `host` has a `ca.crt`, because it chains to that at `date`.
   * During a rollover the first of `certificates`.
   * @param options `date` in ms since 1970-01-01 UTC
   * @throws PlexusError IDENTITY_NAME, IDENTITY_MISSING, CERTIFICATE_INVALID, CERTIFICATE_UNTRUSTED, CERTIFICATE_REVOKED;
   *   REPOSITORY_WRITABLE when others decide what is there; BAD_CONFIG when the file `revoked` cannot be read
   */
  async certificate(name: IdentityName, options: { host: IdentityName; date: number }): Promise<Certificate> {
    const [first] = await this.certificates(name, options)
    return first
  }

  /**
   * Every certificate of a peer that is trusted: the one in `cert.crt`, then that in `cert.next.crt`. One of the two
   * that is not trusted, or revoked, counts as none, so that neither an expired one nor a spoilt one ends a rollover.
   * @param options `date` in ms since 1970-01-01 UTC
   * @throws PlexusError as `certificate`: why the first is not trusted, when none is
   */
  async certificates(
    name: IdentityName,
    options: { host: IdentityName; date: number },
  ): Promise<[Certificate, ...Certificate[]]> {
    const [first, ...others] = await this.trusted(name, options)
    return [first.certificate, ...others.map(({ certificate }) => certificate)]
  }

  /** The same, with the time for which each is trusted. @throws PlexusError as `certificate` */
  async trusted(
    name: IdentityName,
    options: { host: IdentityName; date: number },
  ): Promise<[Trusted, ...Trusted[]]> {
    const paths = this.paths(name)
    const [authorities, revoked] = await Promise.all([this.#authorities(options.host), this.revoked()])
    const trusted = async (path: string): Promise<Trusted> => {
      const certificate = await this.#readCertificate(name, path)
      if (revoked.has(certificate.fingerprint.toString('hex'))) throw isRevoked(name, certificate)
      const span = authorities ? checkChain(certificate, authorities, options.date, path) : ALWAYS
      return { certificate, ...span }
    }
    const next = (await entryExists(paths.nextCertificate))
      ? await trusted(paths.nextCertificate).catch(() => undefined)
      : undefined
    try {
      const current = await trusted(paths.certificate)
      return next ? [current, next] : [current]
    } catch (thrown) {
      if (next) return [next]
      throw thrown
    }
  }

  /**
   * What lies there of an identity, without a judgement on whether it is trusted.
   * @throws PlexusError IDENTITY_NAME; IDENTITY_MISSING when it has no directory
   */
  async record(name: IdentityName): Promise<IdentityRecord> {
    const paths = this.paths(name)
    if (!(await this.has(name))) {
      throw new PlexusError('IDENTITY_MISSING', `${formatIdentity(name)} is not in the repository.`, {
        advice: 'plexus id list shows the identities in it.',
      })
    }
    const read = (path: string) =>
      this.#readCertificate(name, path).catch((thrown: unknown) => asPlexusError(thrown))
    const [current, hasNext] = await Promise.all([
      read(paths.certificate),
      entryExists(paths.nextCertificate),
    ])
    const keys = await Promise.all([paths.privateKey, paths.nextPrivateKey].map(keyFile))
    return {
      name,
      paths,
      current,
      next: hasNext ? await read(paths.nextCertificate) : undefined,
      keys: keys.filter((key) => key !== undefined),
    }
  }

  async #readCertificate(name: IdentityName, path: string): Promise<Certificate> {
    const file = await readConfined(this.#root, path)
    if (file.state === 'absent') {
      throw new PlexusError(
        'IDENTITY_MISSING',
        `There is no certificate of ${formatIdentity(name)} at ${path}.`,
      )
    }
    if (file.state === 'refused') {
      const advice = 'Put a readable PEM file there, inside the repository.'
      throw refusal(`The certificate ${path}`, file, 'CERTIFICATE_INVALID', advice)
    }
    return parseCertificate(file.text, path)
  }

  /** The file `revoked`. One that cannot be read is never none. @throws PlexusError BAD_CONFIG, REPOSITORY_WRITABLE */
  async revoked(): Promise<Revoked> {
    return parseRevoked(await this.#revokedText(), this.revokedPath)
  }

  async #revokedText(): Promise<string> {
    const path = this.revokedPath
    const file = await readConfined(this.#root, path)
    if (file.state === 'read') return file.text
    // an owner may have that name
    if (file.state === 'absent' || (await this.#leads(path).catch(() => false))) return ''
    const advice = 'Put a readable file there, inside the repository, or remove it to revoke nothing.'
    throw refusal(`The file ${path}`, file, 'BAD_CONFIG', advice)
  }

  /**
   * Shuts certificates out for good, whoever brings them back.
   * @param note why, for whoever reads the file
   * @throws PlexusError as `revoked`; REPOSITORY when it cannot be written
   */
  async revoke(certificates: readonly Certificate[], note: string): Promise<void> {
    const before = await this.#revokedText()
    const known = parseRevoked(before, this.revokedPath)
    const text = certificates
      .filter(({ fingerprint }) => !known.has(fingerprint.toString('hex')))
      .reduce((all, { x509 }) => addRevoked(all, x509.fingerprint256, note), before)
    if (text === before) return
    await replaceFile(this.revokedPath, text, 0o644).catch((thrown: unknown) => {
      throw unwritable(`${this.revokedPath} cannot be written`, thrown)
    })
  }

  get revokedPath(): string {
    return join(this.path, 'revoked')
  }

  /** The certificates of the host's `ca.crt`; nothing if it has none. One that cannot be read is never none. */
  async #authorities(host: IdentityName): Promise<X509Certificate[] | undefined> {
    const path = this.paths(host).ca
    const file = await readConfined(this.#root, path)
    if (file.state === 'absent') return undefined
    if (file.state === 'refused') {
      const advice =
        'Put a readable PEM file there, inside the repository, or remove it to trust pinned certificates.'
      throw refusal(`The authority ${path}`, file, 'CERTIFICATE_UNTRUSTED', advice)
    }
    return parseBundle(file.text, path)
  }
}

function isRevoked(name: IdentityName, { x509 }: Certificate): PlexusError {
  const sentence = `The certificate ${x509.fingerprint256} of ${formatIdentity(name)} is revoked.`
  return new PlexusError('CERTIFICATE_REVOKED', sentence)
}

async function stampOf(paths: readonly string[]): Promise<string> {
  const parts = paths.map(async (path) => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs, mode, uid } = await stat(path, { bigint: true })
      return [dev, ino, size, mtimeNs, ctimeNs, mode, uid].join(' ')
    } catch {
      return '-'
    }
  })
  return (await Promise.all(parts)).join('\n')
}
