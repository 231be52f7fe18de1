import { userInfo } from 'node:os'
import { PlexusError } from '../../errors/index.js'
import { formatIdentity, type IdentityRecord, type KeyFile } from '../../identity/index.js'
import type { Values } from '../flags/values.js'
import { certificateLines, indented } from './certificate-lines.js'
import { findIdentity } from './repository.js'

/** `plexus id show <identity>`: what there is to know of it, and who may read its private key. */
export async function showIdentity(text: string, values: Values): Promise<number> {
  const { repository, name } = await findIdentity(text, values)
  const { paths, current, next, keys } = await repository.record(name)
  const keyOf = (path: string) => keys.find((key) => key.path === path)
  process.stdout.write(
    `${formatIdentity(name)}\n` +
      indented([
        ...part('certificate', paths.certificate, current),
        ['private key', keyText(keyOf(paths.privateKey))],
      ]),
  )
  if (next) {
    const nextKey = keyOf(paths.nextPrivateKey)
    process.stdout.write(
      `next, until it replaces the current one\n` +
        indented([
          ...part('certificate', paths.nextCertificate, next),
          ...(keys.length > 0 ? [['private key', keyText(nextKey)] as [string, string]] : []),
        ]),
    )
  }
  return 0
}

function part(label: string, path: string, certificate: IdentityRecord['current']): [string, string][] {
  if (certificate instanceof PlexusError) return [[label, certificate.message]]
  return [[label, path], ...certificateLines(certificate)]
}

/** The name of this user; a container may have none for it. */
function ownName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.()}`
  }
}

/** Who may read a private key: nobody but its owner, or it is said. */
function keyText(key: KeyFile | undefined): string {
  if (!key) return 'none: this is a peer'
  const mode = key.mode.toString(8).padStart(4, '0')
  const owner = key.uid === process.getuid?.() ? ownName() : key.uid === 0 ? 'root' : `uid ${key.uid}`
  const readers =
    (key.mode & 0o077) === 0 ? `only ${owner} can read it` : 'OTHER USERS CAN READ IT: run chmod 600 on it'
  return `${key.path} (mode ${mode}, of ${owner}: ${readers})`
}
