import { constants } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import HyperDHT, { type KeyPair } from 'hyperdht'
import { codeWord, PlexusError } from '../../src/errors/index.js'
import type { Random } from '../../src/net/index.js'
import type { RendezvousContext } from '../interface.js'
import { mailboxName } from '../mailbox.js'
import type { IdentityMailbox } from './place.js'

const SEED = 32
/** A draft older than this, in ms, was left behind by a process that was killed: writing one takes a moment. */
const STALE = 60_000
/** What a disk says that takes nothing now, and may again later: no reason not to be reachable. */
const DISK_FULL: readonly unknown[] = ['ENOSPC', 'EDQUOT', 'EROFS']

/**
 * The DHT key pair of an accepter: random, as one derived from the certificate would belong to everyone who has the
 * certificate; and kept, so that after a restart the old announcement is replaced instead of left to rot. Its seed
 * is a file in the state directory that only its owner may read. When the disk is full it is not kept.
 * @throws PlexusError STATE_DIRECTORY
 */
export async function keyPairOf(mailbox: IdentityMailbox, context: RendezvousContext): Promise<KeyPair> {
  const path = join(context.stateDirectory, `dht-${mailboxName(mailbox)}.seed`)
  await removeDrafts(path, context.clock.date()).catch(() => {}) // nothing depends on it
  try {
    const kept = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined
      throw cause
    })
    if (kept?.length === SEED) return HyperDHT.keyPair(kept)
    const seed = context.random(SEED)
    await keep(seed, path, context.random).catch((cause: NodeJS.ErrnoException) => {
      if (!DISK_FULL.includes(cause.code)) throw cause
      context.log.warn({ file: path, cause: cause.code }, 'the DHT key will be lost at the next restart')
    })
    return HyperDHT.keyPair(seed)
  } catch (cause) {
    const why = codeWord(cause)
    throw new PlexusError('STATE_DIRECTORY', `The DHT key in ${path} cannot be saved (${why}).`, { cause })
  }
}

async function keep(seed: Buffer, path: string, random: Random): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const draft = `${path}.${random(6).toString('hex')}`
  try {
    const file = await open(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
    try {
      await file.writeFile(seed)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
  } catch (cause) {
    await rm(draft, { force: true })
    throw cause
  }
}

/** Removes what processes left behind that were killed while they wrote. */
async function removeDrafts(path: string, date: number): Promise<void> {
  const folder = dirname(path)
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`${basename(path)}.`)) continue
    const draft = join(folder, name)
    const written = await stat(draft).then(
      ({ mtimeMs }) => mtimeMs,
      () => date,
    )
    if (date - written > STALE) await rm(draft, { force: true })
  }
}
