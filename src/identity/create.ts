import { generateKeyPair, type KeyObject, X509Certificate } from 'node:crypto'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeWord, PlexusError } from '../errors/index.js'
import { OpenFileSystem, writeNewFile } from '../files/index.js'
import type { Random } from '../net/index.js'
import { entryExists, makeDirectory } from './confined.js'
import { checkIdentityName, formatIdentity, type IdentityName } from './name.js'
import { type IdentityPaths, pathsIn } from './paths.js'
import { selfSign } from './self-signed.js'

const generate = promisify(generateKeyPair)

/** As strong as a 128-bit cipher (NIST SP 800-57), until 2036 at least, and half the cost of 4096. */
const RSA_BITS = 3072

/**
 * Makes a new identity in the repository, which is made as well if there is none: a key pair (RSA 3072 or EC P-256)
 * and a certificate that it signs for itself, good for ten years. Directories are 0700, the key 0600.
 *
 * @param options `date` in ms since 1970-01-01 UTC
 * @returns the SHA-256 fingerprint of the certificate, as `openssl x509 -fingerprint -sha256` writes it
 * @throws PlexusError IDENTITY_NAME; IDENTITY_EXISTS when a certificate or a key is there; REPOSITORY when it cannot
 * be written
 */
export async function createIdentity(
  repository: string,
  name: IdentityName,
  options: { key: 'rsa' | 'ec'; random: Random; date: number },
): Promise<{ fingerprint: string; paths: IdentityPaths }> {
  checkIdentityName(name)
  const directory = join(repository, name.owner, name.pin)
  const paths = pathsIn(directory)
  try {
    await makeDirectory(repository, directory)
    const fingerprint = await writePair(name, paths.certificate, paths.privateKey, options)
    return { fingerprint, paths }
  } catch (thrown) {
    throw unwritable(`The identity cannot be written at ${directory}`, thrown)
  }
}

/**
 * Makes a key pair and writes it and its certificate to two new files.
 * @returns the fingerprint of the certificate
 * @throws PlexusError IDENTITY_EXISTS when there is either file; what the file system throws
 */
export async function writePair(
  name: IdentityName,
  certificatePath: string,
  keyPath: string,
  options: { key: 'rsa' | 'ec'; random: Random; date: number },
): Promise<string> {
  for (const path of [certificatePath, keyPath]) {
    if (await entryExists(path)) throw exists(name, path)
  }
  const privateKey = await makeKey(options.key)
  const pem = selfSign(privateKey, name, options)
  const secret = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  if (!(await writeNewFile(keyPath, secret, 0o600, options.random))) throw exists(name, keyPath)
  try {
    if (!(await writeNewFile(certificatePath, pem, 0o644, options.random)))
      throw exists(name, certificatePath)
  } catch (thrown) {
    await unlink(keyPath) // half an identity would be in the way of the next try
    throw thrown
  }
  return new X509Certificate(pem).fingerprint256
}

function exists(name: IdentityName, path: string): PlexusError {
  return new PlexusError('IDENTITY_EXISTS', `${formatIdentity(name)} already exists: there is ${path}.`)
}

async function makeKey(kind: 'rsa' | 'ec'): Promise<KeyObject> {
  const { privateKey } =
    kind === 'rsa'
      ? await generate('rsa', { modulusLength: RSA_BITS })
      : await generate('ec', { namedCurve: 'prime256v1' })
  return privateKey
}

/** Why a file of the repository was not written. @param sentence without its full stop */
export function unwritable(sentence: string, thrown: unknown): PlexusError {
  if (thrown instanceof PlexusError) return thrown
  const open = thrown instanceof OpenFileSystem
  const why = open ? `: ${thrown.message}` : ` (${codeWord(thrown)})`
  return new PlexusError('REPOSITORY', `${sentence}${why}.`, {
    advice: open
      ? 'Use an --app-repo on a file system with permissions, or mount this one with umask=077.'
      : 'Give --app-repo a directory that this user may write.',
    cause: thrown,
  })
}
