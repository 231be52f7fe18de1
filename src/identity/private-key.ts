import { createPrivateKey, type KeyObject } from 'node:crypto'
import { PlexusError } from '../errors/index.js'
import { keyKind } from './certificate.js'

/** As ssh does: a key that others can read is a key that others may have. @throws PlexusError KEY_READABLE */
export function checkPrivate(path: string, mode: number, uid: number): void {
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

/** @throws PlexusError KEY_INVALID */
export function parsePrivateKey(pem: string, path: string): KeyObject {
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
