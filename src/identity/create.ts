import { generateKeyPair, type KeyObject, X509Certificate } from 'node:crypto'
import { link, mkdir, open, realpath, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { PlexusError } from '../errors/index.js'
import type { Random } from '../net/index.js'
import { entryExists, isInside } from './confined.js'
import { checkIdentityName, formatIdentity, type IdentityName } from './name.js'
import type { IdentityPaths } from './repository.js'
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
  const paths: IdentityPaths = {
    certificate: join(directory, 'cert.crt'),
    privateKey: join(directory, 'private.key'),
    ca: join(directory, 'ca.crt'),
  }
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    if (!isInside(await realpath(repository), await realpath(directory))) {
      throw new PlexusError('REPOSITORY', `${directory} leads out of the repository.`, {
        advice: 'Replace the symbolic link with a directory.',
      })
    }
    for (const path of [paths.certificate, paths.privateKey]) {
      if (await entryExists(path)) throw exists(name, path)
    }
    const privateKey = await makeKey(options.key)
    const pem = selfSign(privateKey, name, options)
    const secret = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    if (!(await write(paths.privateKey, secret, 0o600, options.random))) throw exists(name, paths.privateKey)
    try {
      if (!(await write(paths.certificate, pem, 0o644, options.random))) throw exists(name, paths.certificate)
    } catch (thrown) {
      await unlink(paths.privateKey) // half an identity would be in the way of the next try
      throw thrown
    }
    return { fingerprint: new X509Certificate(pem).fingerprint256, paths }
  } catch (thrown) {
    if (thrown instanceof PlexusError) throw thrown
    throw new PlexusError('REPOSITORY', `The identity cannot be written at ${directory}.`, {
      advice: 'Give --app-repo a directory that this user may write.',
      cause: thrown,
    })
  }
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
async function write(path: string, text: string, mode: number, random: Random): Promise<boolean> {
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
