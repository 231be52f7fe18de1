import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import { replaceFile } from '../files/index.js'
import type { Random } from '../net/index.js'
import type { Certificate } from './certificate.js'
import { makeDirectory } from './confined.js'
import { unwritable, writePair } from './create.js'
import { formatIdentity, type IdentityName } from './name.js'
import type { Repository } from './repository.js'

/**
 * A rollover: an identity gets a new key without a moment in which its peers cannot reach it.
 *
 * 1. `renewIdentity` on its own machine writes the next pair beside the current one. Its accepter opens messages for
 *    either, receives in the mailboxes of both, and answers as whom it was addressed.
 * 2. Peers store the new certificate as the next one: they take messages signed by either, and invite both.
 * 3. `finishRollover` puts the next in the place of the current: first on its own machine, then, without haste, at
 *    the peers. Whoever has only the old certificate then is no longer understood.
 */

/**
 * Makes the next key pair of an own identity.
 * @param options `date` in ms since 1970-01-01 UTC
 * @returns the fingerprint of the next certificate
 * @throws PlexusError as `Repository.host`; IDENTITY_EXISTS when there is a next one; REPOSITORY
 */
export async function renewIdentity(
  repository: Repository,
  name: IdentityName,
  options: { key: 'rsa' | 'ec'; random: Random; date: number },
): Promise<string> {
  await repository.host(name)
  const { nextCertificate, nextPrivateKey } = repository.paths(name)
  try {
    return await writePair(name, nextCertificate, nextPrivateKey, options)
  } catch (thrown) {
    const error = unwritable(`The next pair of ${formatIdentity(name)} cannot be written`, thrown)
    if (error.code !== 'IDENTITY_EXISTS') throw error
    throw new PlexusError(
      'IDENTITY_EXISTS',
      `The key of ${formatIdentity(name)} is already being replaced.`,
      {
        advice: 'Finish it with: plexus id renew --finish, or remove its cert.next.crt and private.next.key.',
      },
    )
  }
}

/**
 * Puts the next certificate, and the next key of an own identity, in the place of the current. Run again after an
 * interruption, it goes on where it stopped.
 * @throws PlexusError IDENTITY_MISSING when there is no next one; CERTIFICATE_INVALID, KEY_INVALID; REPOSITORY
 */
export async function finishRollover(repository: Repository, name: IdentityName): Promise<void> {
  const { paths, current, next, keys } = await repository.record(name)
  const nextKey = keys.some(({ path }) => path === paths.nextPrivateKey)
  const owned = keys.length > 0
  try {
    if (next) {
      if (next instanceof PlexusError) throw next
      // before anything is moved: the pair must be one that `host` takes
      if (owned && nextKey) await repository.host(name)
      else if (owned)
        throw new PlexusError('KEY_MISSING', `There is no private key at ${paths.nextPrivateKey}.`)
      await rename(paths.nextCertificate, paths.certificate)
    } else if (!nextKey || current instanceof PlexusError) {
      throw new PlexusError('IDENTITY_MISSING', `${formatIdentity(name)} has no next certificate.`, {
        advice: 'Begin with plexus id renew on its own machine, or with plexus id import on a peer.',
      })
    }
    if (nextKey) await rename(paths.nextPrivateKey, paths.privateKey)
  } catch (thrown) {
    throw unwritable(`The files of ${formatIdentity(name)} cannot be moved`, thrown)
  }
}

/** What an import changes: the certificates that an identity has afterwards, the oldest first. */
export interface ImportPlan {
  readonly certificates: readonly Certificate[]
  /** Those that have not been there before, and so must be confirmed. */
  readonly added: readonly Certificate[]
  /** Those that are no longer accepted. */
  readonly dropped: readonly Certificate[]
}

/**
 * Of a peer the two newest certificates are kept: two that come together are its current and its next one; one that
 * comes alone follows what is there.
 * @param known the peer's certificates as the repository has them, the oldest first
 * @param replace nothing of what is there is kept: somebody else may have its key
 */
export function planImport(
  known: readonly Certificate[],
  coming: readonly Certificate[],
  replace = false,
): ImportPlan {
  const among = (list: readonly Certificate[], { fingerprint }: Certificate) =>
    list.some((other) => other.fingerprint.equals(fingerprint))
  const added = coming.filter((certificate) => !among(known, certificate))
  if (added.length === 0 && !replace) return { certificates: known, added, dropped: [] }
  const certificates = replace || coming.length > 1 ? coming : [...known, ...coming].slice(-2)
  return { certificates, added, dropped: known.filter((certificate) => !among(certificates, certificate)) }
}

/**
 * Writes the certificates of a peer, each file whole or not at all.
 * @throws PlexusError REPOSITORY
 */
export async function storeCertificates(
  repository: Repository,
  name: IdentityName,
  certificates: readonly Certificate[],
  random: Random,
): Promise<void> {
  const paths = repository.paths(name)
  const directory = join(repository.path, name.owner, name.pin)
  const [current, next] = certificates
  try {
    await makeDirectory(repository.path, directory)
    // the next one first: at no moment is a certificate missing that is to stay
    if (next) await replaceFile(paths.nextCertificate, next.pem, 0o644, random)
    if (current) await replaceFile(paths.certificate, current.pem, 0o644, random)
    if (!next) await rm(paths.nextCertificate, { force: true })
  } catch (thrown) {
    throw unwritable(`The certificate of ${formatIdentity(name)} cannot be written`, thrown)
  }
}
