import { constants } from 'node:fs'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import HyperDHT, { type KeyPair } from 'hyperdht'
import { PlexusError } from '../../src/errors/index.js'
import type { RendezvousContext } from '../interface.js'
import { mailboxName } from '../mailbox.js'
import type { IdentityMailbox } from './place.js'

const SEED = 32

/**
 * The DHT key pair of an accepter: random, as one derived from the certificate would belong to everyone who has the
 * certificate; and kept, so that after a restart the old announcement is replaced instead of left to rot. Its seed
 * is a file in the state directory that only its owner may read.
 * @throws PlexusError STATE_DIRECTORY
 */
export async function keyPairOf(mailbox: IdentityMailbox, context: RendezvousContext): Promise<KeyPair> {
  const path = join(context.stateDirectory, `dht-${mailboxName(mailbox)}.seed`)
  try {
    const kept = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined
      throw cause
    })
    if (kept?.length === SEED) return HyperDHT.keyPair(kept)
    const seed = context.random(SEED)
    await mkdir(context.stateDirectory, { recursive: true, mode: 0o700 })
    const temporary = `${path}.${context.random(6).toString('hex')}`
    try {
      const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
      try {
        await file.writeFile(seed)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } catch (cause) {
      await rm(temporary, { force: true })
      throw cause
    }
    return HyperDHT.keyPair(seed)
  } catch (cause) {
    const why = (cause as { code?: unknown }).code ?? cause
    throw new PlexusError('STATE_DIRECTORY', `The DHT key in ${path} cannot be kept (${why}).`, { cause })
  }
}
