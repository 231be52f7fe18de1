import { PlexusError } from '../errors/index.js'
import { createIdentity, formatIdentity, parseIdentity } from '../identity/index.js'
import { systemClock, systemRandom } from './clock.js'
import { defaultRepository } from './defaults.js'
import type { Given, Values } from './flags.js'

/** `plexus id new <owner/pin>`: makes a key pair and a certificate in the repository. */
export async function identityCommand(given: Given, values: Values): Promise<number> {
  if (typeof given.identity !== 'string')
    throw new PlexusError('BAD_FLAG', 'plexus id new needs an identity: owner/pin.')
  const name = parseIdentity(given.identity)
  const repository = values.path('app-repo') ?? defaultRepository()
  const key = values.choice('key', ['rsa', 'ec'] as const, 'rsa')
  const made = await createIdentity(repository, name, { key, random: systemRandom, date: systemClock.date() })
  process.stdout.write(
    `${formatIdentity(name)}\n` +
      `  certificate  ${made.paths.certificate}  (give it to your peers)\n` +
      `  private key  ${made.paths.privateKey}  (never leaves this machine)\n` +
      `  fingerprint  ${made.fingerprint}\n`,
  )
  return 0
}
