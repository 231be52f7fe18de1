import { PlexusError } from '../../errors/index.js'
import type { Given } from '../flags/flags.js'
import type { Values } from '../flags/values.js'

/** What `plexus id` can do. */
export const ID_ACTIONS = ['new', 'list', 'show', 'export', 'import', 'remove', 'renew'] as const
type Action = (typeof ID_ACTIONS)[number]

/** What the word after the action is; `list` takes none. */
const SUBJECT: Readonly<Record<Exclude<Action, 'list'>, string>> = {
  new: 'an identity: owner/pin',
  show: 'an identity: owner/pin, or its short name',
  export: 'an identity: owner/pin, or its short name',
  import: 'a file, or - for standard input',
  remove: 'an identity: owner/pin, or its short name',
  renew: 'an identity: owner/pin, or its short name',
}

/** The flags that an action takes beside `--app-repo`. */
const FLAGS: Readonly<Record<Action, readonly string[]>> = {
  new: ['key'],
  list: [],
  show: [],
  export: ['out'],
  import: ['as', 'fingerprint', 'replace'],
  remove: ['yes', 'with-key'],
  renew: ['key', 'finish', 'yes'],
}

/** `plexus id <action> [identity]`: the identities of a repository. @throws PlexusError for every mistake */
export async function identityCommand(given: Given, values: Values): Promise<number> {
  const action = ID_ACTIONS.find((each) => each === given.action)
  if (action === undefined)
    throw new PlexusError('BAD_FLAG', `plexus id needs one of: ${ID_ACTIONS.join(', ')}.`)
  refuseForeignFlags(action, given)
  if (action === 'list') {
    if (given.identity !== undefined)
      throw new PlexusError('BAD_FLAG', 'plexus id list does not take an identity.')
    return (await import('./list.js')).listIdentities(values)
  }
  if (typeof given.identity !== 'string' || given.identity === '')
    throw new PlexusError('BAD_FLAG', `plexus id ${action} needs ${SUBJECT[action]}.`)
  const subject = given.identity
  switch (action) {
    case 'new':
      return (await import('./new.js')).newIdentity(subject, values)
    case 'show':
      return (await import('./show.js')).showIdentity(subject, values)
    case 'export':
      return (await import('./export.js')).exportIdentity(subject, values)
    case 'import':
      return (await import('./import.js')).importIdentity(subject, values)
    case 'remove':
      return (await import('./remove.js')).removeIdentityOf(subject, values)
    case 'renew':
      return (await import('./renew.js')).renewIdentityOf(subject, values)
  }
}

/** A flag that the action does not look at would be a wish that is not granted, in silence. */
function refuseForeignFlags(action: Action, given: Given): void {
  for (const flag of new Set(Object.values(FLAGS).flat())) {
    if (given[flag] !== undefined && !FLAGS[action].includes(flag))
      throw new PlexusError('BAD_FLAG', `plexus id ${action} does not take --${flag}.`)
  }
}
