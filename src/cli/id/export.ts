import { writeFile } from 'node:fs/promises'
import { PlexusError } from '../../errors/index.js'
import { type Certificate, formatHandout } from '../../identity/index.js'
import type { Values } from '../flags/values.js'
import { findIdentity } from './repository.js'

/** `plexus id export <identity>`: its certificate with its name, for peers to import; during a rollover both. */
export async function exportIdentity(text: string, values: Values): Promise<number> {
  const out = values.path('out')
  const { repository, name } = await findIdentity(text, values)
  const { current, next } = await repository.record(name)
  const certificates: Certificate[] = []
  for (const certificate of next ? [current, next] : [current]) {
    if (certificate instanceof PlexusError) throw certificate
    certificates.push(certificate)
  }
  const handout = formatHandout(name, certificates)
  if (out === undefined) process.stdout.write(handout)
  else {
    await writeFile(out, handout, { flag: 'wx' }).catch((cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EEXIST' ? 'exists already' : `cannot be written (${cause.code})`
      throw new PlexusError('BAD_FLAG', `The file '${out}' of --out ${why}.`, {
        advice: 'Name a new file in a directory that this user may write.',
        cause,
      })
    })
  }
  return 0
}
