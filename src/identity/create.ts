import { generateKeyPair, type KeyObject, X509Certificate } from 'node:crypto'
import { link, open, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { PlexusError } from '../errors/index.js'
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
    if (thrown instanceof PlexusError) throw thrown
    throw new PlexusError('REPOSITORY', `The identity cannot be written at ${directory}.`, {
      advice: 'Give --app-repo a directory that this user may write.',
      cause: thrown,
    })
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
  if (!(await writeNew(keyPath, secret, 0o600, options.random))) throw exists(name, keyPath)
  try {
    if (!(await writeNew(certificatePath, pem, 0o644, options.random))) throw exists(name, certificatePath)
  } catch (thrown) {
    await unlink(keyPath) // half an identity would be in the way of the next try
    throw thrown
  }
  return new X509Certificate(pem).fingerprint256
}

function exists(name: IdentityName, path: string): PlexusError {
  return new PlexusError('IDENTITY_EXISTS', `${formatIdentity(name)} exists: there is ${path}.`)
}

async function makeKey(kind: 'rsa' | 'ec'): Promise<KeyObject> {
  const { privateKey } =
    kind === 'rsa'
      ? await generate('rsa', { modulusLength: RSA_BITS })
      : await generate('ec', { namedCurve: 'prime256v1' })
  return privateKey
}

/**
 * Writes a new file whole or not at all: under a name of its own (O_EXCL) first, then linked to the right one, which
 * unlike a rename replaces nothing.
 * @returns false when there is a file already
 */
export async function writeNew(path: string, text: string, mode: number, random: Random): Promise<boolean> {
  const draft = join(dirname(path), `.${random(8).toString('hex')}`)
  const handle = await open(draft, 'wx', mode)
  try {
    await handle.chmod(mode) // whatever the umask says
    await handle.writeFile(text)
    await handle.sync()
    await link(draft, path)
    return true
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'EEXIST') return false
    throw thrown
  } finally {
    await handle.close()
    await unlink(draft)
  }
}
