import { asPlexusError, type ErrorCode, PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from './name.js'
import type { Repository } from './repository.js'

/** How often in a row it may be unclear whether a certificate is still there before it counts as gone. */
const DOUBTS = 2

const UNCLEAR: ReadonlySet<string> = new Set([
  'CERTIFICATE_INVALID',
  'BAD_CONFIG',
  'REPOSITORY',
  'SYSTEM_LIMIT',
])

/** Whether it is the answer of files that are half written, or that cannot be read just now: they do not tell. */
export function isUnclear(code: ErrorCode): boolean {
  return UNCLEAR.has(code)
}

/**
 * Whether the certificate by which a peer has proven who it is may still pair: the one question behind a passage that
 * is about to be handed over, a command or a tunnel that runs, and a signature that is made inside a tunnel.
 *
 * It may not any more when its identity has no directory, when the repository no longer has this very certificate (nor as the
 * next one), when it is revoked, or when it does not chain to the host's `ca.crt` or is out of its validity there. While the
 * host's own directory is away nobody is out: then it is the repository that cannot be reached.
 *
 * One object stands for the newest proof. Asked again and again it costs a few `stat` for as long as no file has changed.
 */
export class Standing {
  readonly #repository: Repository
  readonly #host: IdentityName
  readonly #peer: IdentityName
  /** Nothing where nobody has signed, as in plain mail of plexus 3.x: then the directory alone decides. */
  #fingerprint: Buffer | undefined
  /** The files at the last look, and from when to when what was found then holds. */
  #known: { readonly stamp: string; readonly from: number; readonly until: number } | undefined
  #doubts = 0

  constructor(
    repository: Repository,
    options: { host: IdentityName; peer: IdentityName; fingerprint: Buffer | undefined },
  ) {
    this.#repository = repository
    this.#host = options.host
    this.#peer = options.peer
    this.#fingerprint = options.fingerprint
  }

  /** The peer has proven anew who it is, by this certificate. */
  proven(fingerprint: Buffer): void {
    this.#fingerprint = fingerprint
    this.#known = undefined
  }

  /**
   * Why the peer may not pair any more; nothing while it may. Never rejects.
   * @param date ms since 1970-01-01 UTC
   * @returns IDENTITY_MISSING, CERTIFICATE_REVOKED, CERTIFICATE_UNTRUSTED, CERTIFICATE_INVALID, REPOSITORY_WRITABLE, REPOSITORY, BAD_CONFIG
   */
  async objection(date: number): Promise<PlexusError | undefined> {
    const found = await this.#look(date).catch((thrown: unknown) => asPlexusError(thrown))
    if (found === undefined) {
      this.#doubts = 0
      return undefined
    }
    this.#known = undefined
    if (!(await this.#repository.has(this.#host).catch(() => false))) return undefined
    this.#doubts++
    return isUnclear(found.code) && this.#doubts < DOUBTS ? undefined : found
  }

  async #look(date: number): Promise<PlexusError | undefined> {
    const [repository, peer, host] = [this.#repository, this.#peer, this.#host]
    if (!(await repository.has(peer))) return this.#gone('was removed from the repository')
    const fingerprint = this.#fingerprint
    if (!fingerprint) return undefined
    const stamp = await repository.peerStamp(peer, host)
    const known = this.#known
    if (known?.stamp === stamp && known.from <= date && date <= known.until) return undefined
    const trusted = await repository.trusted(peer, { host, date })
    const same = trusted.find(({ certificate }) => certificate.fingerprint.equals(fingerprint))
    if (!same) return await this.#without(fingerprint)
    this.#known = { stamp, from: same.from, until: same.until }
    return undefined
  }

  /** The repository has another certificate of the peer, which is good: why this one does not count. */
  async #without(fingerprint: Buffer): Promise<PlexusError> {
    const name = formatIdentity(this.#peer)
    if ((await this.#repository.revoked()).has(fingerprint.toString('hex')))
      return new PlexusError('CERTIFICATE_REVOKED', `The certificate that ${name} used is revoked.`)
    return this.#gone('has another certificate in the repository now')
  }

  #gone(why: string): PlexusError {
    return new PlexusError('IDENTITY_MISSING', `${formatIdentity(this.#peer)} ${why}.`)
  }
}
