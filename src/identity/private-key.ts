import { createPrivateKey, type KeyObject } from 'node:crypto'
import { PlexusError } from '../errors/index.js'
import { exposure, type Ownership } from '../files/index.js'
import { keyKind } from './certificate.js'

/** As ssh does: a key that others can read is a key that others may have. @throws PlexusError KEY_READABLE */
export function checkPrivate(path: string, owner: Ownership): void {
  const found = exposure(path, owner)
  if (found)
    throw new PlexusError('KEY_READABLE', `The private key ${path} ${found.why}.`, { advice: found.remedy })
}

/** @throws PlexusError KEY_INVALID */
export function parsePrivateKey(pem: string, path: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem)) {
    throw new PlexusError('KEY_INVALID', `The private key ${path} is protected by a passphrase.`, {
      advice: 'Remove it with: openssl pkey -in old.key -out private.key.',
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
