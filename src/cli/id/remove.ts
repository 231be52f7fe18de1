import { PlexusError } from '../../errors/index.js'
import { formatIdentity, removeIdentity } from '../../identity/index.js'
import type { Values } from '../flags/values.js'
import { confirm } from './confirm.js'
import { findIdentity } from './repository.js'

/** `plexus id remove <identity>`: it can no longer pair, and within 5 s what runs for it ends. */
export async function removeIdentityOf(text: string, values: Values): Promise<number> {
  const { repository, name } = await findIdentity(text, values)
  const full = formatIdentity(name)
  const { keys } = await repository.record(name)
  const own = keys.length > 0
  if (own && !values.switch('with-key')) {
    throw new PlexusError('IDENTITY_EXISTS', `${full} is your own identity: its private key is here.`, {
      advice: 'Use --with-key to remove it with its key. Your peers will then need a new certificate.',
    })
  }
  if (!values.switch('yes')) {
    const what = own ? `${full} and its private key` : full
    await confirm(`Remove ${what} from ${repository.path}?`, 'In a script, use --yes.')
  }
  await removeIdentity(repository, name)
  process.stdout.write(`${full} was removed.\n`)
  return 0
}
