import { PlexusError } from '../../errors/index.js'
import {
  expiryNotice,
  formatIdentity,
  type IdentityName,
  type IdentityRecord,
  Repository,
} from '../../identity/index.js'
import { systemClock } from '../clock.js'
import type { Values } from '../flags/values.js'
import { day } from './certificate-lines.js'
import { repositoryPath } from './repository.js'

/** How many identities are read at a time. */
const BATCH = 32

/** `plexus id list`: a line for every identity; an asterisk marks those with a private key. */
export async function listIdentities(values: Values): Promise<number> {
  const repository = await Repository.open(repositoryPath(values))
  const names = await repository.list({
    unreadable: ({ message }) => void process.stderr.write(`plexus: ${message} It is not in the list.\n`),
  })
  const width = Math.max(0, ...names.map((name) => formatIdentity(name).length))
  for (let at = 0; at < names.length; at += BATCH) {
    const records = await Promise.all(
      names
        .slice(at, at + BATCH)
        .map((name) => repository.record(name).catch((thrown) => missed(name, thrown))),
    )
    process.stdout.write(
      records.map((record) => (typeof record === 'string' ? record : line(record, width))).join(''),
    )
  }
  if (names.length === 0) process.stderr.write(`There are no identities in ${repository.path} yet.\n`)
  return 0
}

/** In place of a record: nothing if it was removed since. */
function missed(name: IdentityName, thrown: unknown): string {
  if (!(thrown instanceof PlexusError)) throw thrown
  return thrown.code === 'IDENTITY_MISSING' ? '' : `? ${formatIdentity(name)}  ${thrown.message}\n`
}

function line({ name, current, next, keys }: IdentityRecord, width: number): string {
  const mark = keys.length > 0 ? '*' : ' '
  return `${mark} ${formatIdentity(name).padEnd(width)}  ${state(current)}${next ? ', key being replaced' : ''}\n`
}

function state(certificate: IdentityRecord['current']): string {
  if (certificate instanceof PlexusError) {
    return certificate.code === 'IDENTITY_MISSING' ? 'no certificate' : 'certificate unreadable'
  }
  return expiryNotice(certificate, systemClock.date()) ?? `expires on ${day(certificate.notAfter)}`
}
