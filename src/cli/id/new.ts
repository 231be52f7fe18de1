import { createIdentity, formatIdentity, parseIdentity } from '../../identity/index.js'
import { systemClock, systemRandom } from '../clock.js'
import type { Values } from '../flags/values.js'
import { repositoryPath } from './repository.js'

/** `plexus id new <owner/pin>`: makes a key pair and a certificate in the repository. */
export async function newIdentity(text: string, values: Values): Promise<number> {
  const name = parseIdentity(text)
  const key = values.choice('key', ['rsa', 'ec'] as const, 'rsa')
  const options = { key, random: systemRandom, date: systemClock.date() }
  const made = await createIdentity(repositoryPath(values), name, options)
  process.stdout.write(
    `${formatIdentity(name)}\n` +
      `  certificate  ${made.paths.certificate}  (give it to your peers)\n` +
      `  private key  ${made.paths.privateKey}  (never leaves this machine)\n` +
      `  fingerprint  ${made.fingerprint}\n`,
  )
  return 0
}
