import {
  finishRollover,
  formatIdentity,
  type IdentityName,
  type Repository,
  renewIdentity,
} from '../../identity/index.js'
import { systemClock, systemRandom } from '../clock.js'
import type { Values } from '../flags/values.js'
import { confirm } from './confirm.js'
import { findIdentity } from './repository.js'

/**
 * `plexus id renew <identity>`: begins a rollover with a next key pair beside the current one; with `--finish` ends
 * it, on this machine or at a peer.
 */
export async function renewIdentityOf(text: string, values: Values): Promise<number> {
  const { repository, name } = await findIdentity(text, values)
  return values.switch('finish')
    ? await finish(repository, name, values)
    : await begin(repository, name, values)
}

async function begin(repository: Repository, name: IdentityName, values: Values): Promise<number> {
  const { certificate } = await repository.host(name)
  const key = values.choice('key', ['rsa', 'ec'] as const, certificate.keyKind === 'rsa' ? 'rsa' : 'ec')
  const options = { key, random: systemRandom, date: systemClock.date() }
  const fingerprint = await renewIdentity(repository, name, options)
  const full = formatIdentity(name)
  process.stdout.write(
    `${full} has a next certificate\n` +
      `  certificate  ${repository.paths(name).nextCertificate}\n` +
      `  fingerprint  ${fingerprint}\n` +
      `Import the output of plexus id export ${full} on every peer, then finish with\n` +
      `plexus id renew ${full} --finish. Until then both certificates work.\n`,
  )
  return 0
}

async function finish(repository: Repository, name: IdentityName, values: Values): Promise<number> {
  const full = formatIdentity(name)
  if (!values.switch('yes')) {
    const question = (await repository.hasKey(name))
      ? `This deletes the old key of ${full}, and locks out peers that only have the old certificate. Finish?`
      : `This stops accepting the old certificate of ${full}. Finish?`
    await confirm(question, 'In a script, use --yes.')
  }
  await finishRollover(repository, name)
  process.stdout.write(`${full} has only the new certificate now.\n`)
  return 0
}
