import { type KeyObject, verify } from 'node:crypto'
import { asPlexusError, PlexusError } from '../errors/index.js'
import {
  type Certificate,
  type Digest,
  formatIdentity,
  type Host,
  type IdentityName,
  type Repository,
  Standing,
} from '../identity/index.js'
import { type Clock, type Logger, sleep } from '../net/index.js'
import { digestFor, signAside } from './signed.js'

/** A file that is half written is whole after this long, in ms. */
const HALF_WRITTEN = 2_000

/** A signature, and the certificate by which it is to be checked, as SHA-256 of its DER. */
interface Signed {
  readonly fingerprint: Buffer
  readonly signature: Buffer
}

/** What came of a proof; `unclear` while this side's own directory is away, and with it the repository. */
export type Verdict =
  | { readonly is: 'good' }
  | { readonly is: 'bad' | 'unclear'; readonly error: PlexusError }

/**
 * Proves the identity of this side in a tunnel that is up, and judges the peer's proof, with keys and certificates as they
 * are in the repository at that moment. Signed are the statement and the certificate's fingerprint: PKCS#1 v1.5 or ECDSA
 * with the digest of the messages.
 */
export class IdentityWitness {
  readonly #repository: Repository
  readonly #peer: IdentityName
  readonly #clock: Clock
  readonly #log: Logger
  readonly #onproven: (fingerprint: Buffer) => void
  #host: Host

  /**
   * @param around `host`: this side as it is now, for when it cannot be read later
   * @param onproven is told by which certificate the peer has proven itself
   */
  constructor(
    around: {
      readonly repository: Repository
      readonly host: Host
      readonly peer: IdentityName
      readonly clock: Clock
      readonly log: Logger
    },
    onproven: (fingerprint: Buffer) => void = () => {},
  ) {
    this.#repository = around.repository
    this.#host = around.host
    this.#peer = around.peer
    this.#clock = around.clock
    this.#log = around.log
    this.#onproven = onproven
  }

  /** During a rollover with both keys: the peer may have either certificate. */
  async sign(statement: Buffer): Promise<Signed[]> {
    try {
      this.#host = await this.#repository.host(this.#host.name)
    } catch (thrown) {
      // as for pairing: a file that was spoilt or removed does not lock out a machine that has the key still
      const { code, message } = asPlexusError(thrown)
      this.#log.warn(
        { code },
        `your identity cannot be reloaded, proving it with the earlier key: ${message}`,
      )
    }
    const { next } = this.#host
    return await Promise.all((next ? [this.#host, next] : [this.#host]).map((host) => sign(statement, host)))
  }

  /** Whether one of the signatures, at most two, is that of a certificate with which the peer may still pair. Never rejects. */
  async judge(statement: Buffer, signatures: readonly Signed[]): Promise<Verdict> {
    let error = new PlexusError('SIGNATURE', `The proof of ${formatIdentity(this.#peer)} is not signed.`)
    // the one that takes the other's place comes second, and will be there for longer
    for (const signed of [...signatures].reverse()) {
      const objection = await this.#objection(statement, signed)
      if (!objection) {
        this.#onproven(signed.fingerprint)
        return { is: 'good' }
      }
      error = objection
    }
    const there = await this.#repository.has(this.#host.name).catch(() => false)
    return { is: there ? 'bad' : 'unclear', error }
  }

  async #objection(statement: Buffer, { fingerprint, signature }: Signed): Promise<PlexusError | undefined> {
    const [repository, peer, host] = [this.#repository, this.#peer, this.#host.name]
    const standing = new Standing(repository, { host, peer, fingerprint })
    let error: PlexusError | undefined
    for (let time = 0; time < 2; time++) {
      if (time > 0) await sleep(this.#clock, HALF_WRITTEN)
      const date = this.#clock.date()
      const objection = await standing.objection(date)
      if (objection) return objection
      try {
        const trusted = await repository.certificates(peer, { host, date })
        const found = trusted.find((certificate) => certificate.fingerprint.equals(fingerprint))
        if (found) return (await signedBy(statement, signature, found)) ? undefined : forged(peer)
      } catch (thrown) {
        error = asPlexusError(thrown)
      }
    }
    return error ?? forged(peer)
  }
}

function forged(peer: IdentityName): PlexusError {
  const why = `The proof of ${formatIdentity(peer)} is not signed by the key of its certificate in the repository.`
  return new PlexusError('SIGNATURE', why)
}

async function sign(statement: Buffer, { certificate, privateKey }: Host): Promise<Signed> {
  const { fingerprint } = certificate
  const signature = await signAside(digestFor(certificate), octets(statement, fingerprint), privateKey)
  return { fingerprint, signature }
}

function signedBy(statement: Buffer, signature: Buffer, certificate: Certificate): Promise<boolean> {
  const data = octets(statement, certificate.fingerprint)
  return verifyAside(digestFor(certificate), data, certificate.publicKey, signature)
}

/** In the thread pool, as signing is. What is no signature at all is not the right one. */
function verifyAside(digest: Digest, data: Buffer, key: KeyObject, signature: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    verify(digest, data, key, signature, (error, good) => resolve(!error && good))
  })
}

function octets(statement: Buffer, fingerprint: Buffer): Buffer {
  return Buffer.concat([statement, fingerprint])
}
