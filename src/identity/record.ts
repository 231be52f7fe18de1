import { stat } from 'node:fs/promises'
import type { PlexusError } from '../errors/index.js'
import type { Certificate } from './certificate.js'
import { ABSENT, isCode, unclear } from './confined.js'
import type { IdentityName } from './name.js'
import type { IdentityPaths } from './paths.js'

/** A private key as a file: who may read it, nothing of what is in it. */
export interface KeyFile {
  readonly path: string
  /** The permission bits. */
  readonly mode: number
  /** The user that it belongs to. */
  readonly uid: number
}

/** What the repository holds of one identity, for a person to look at. */
export interface IdentityRecord {
  readonly name: IdentityName
  readonly paths: IdentityPaths
  /** The certificate, or why it cannot be read. */
  readonly current: Certificate | PlexusError
  /** The one that is to follow it, during a rollover. */
  readonly next: Certificate | PlexusError | undefined
  /** The private keys that lie there: none for a peer. */
  readonly keys: readonly KeyFile[]
}

/** The private key at `path`; nothing when there is none. @throws PlexusError REPOSITORY where the file system does not tell */
export async function keyFile(path: string): Promise<KeyFile | undefined> {
  try {
    const { mode, uid } = await stat(path)
    return { path, mode: mode & 0o7777, uid }
  } catch (thrown) {
    if (isCode(thrown, ...ABSENT)) return undefined
    throw unclear(path, thrown)
  }
}
