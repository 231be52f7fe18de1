import { createIdentity, formatIdentity, parseIdentity } from '../../identity/index.js'
import { systemClock, systemRandom } from '../clock.js'
import type { Values } from '../flags/values.js'
import { repositoryPath } from './repository.js'

/** No machine that runs this is really in an earlier year: its clock was not set, in ms since 1970. */
const EARLIEST = Date.UTC(2025, 0, 1)

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
  if (options.date < EARLIEST) {
    const today = new Date(options.date).toISOString().slice(0, 10)
    process.stderr.write(
      `plexus: the clock says ${today}, so this certificate expires too early. Set the clock, then: plexus id renew\n`,
    )
  }
  return 0
}
