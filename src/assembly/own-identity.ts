import { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName, type Repository } from '../identity/index.js'

/** How many identities an error names: enough to find the right one. */
const NAMES_TOLD = 5

/** How many files are looked for at a time. */
const LOOK_AHEAD = 64

/**
 * Your identity in a repository: the only one with a private key. Names and the existence of that
 * file are all that is looked at.
 * @throws PlexusError BAD_FLAG if there is none or there are several, REPOSITORY where the file system does not tell
 */
export async function ownIdentity(repository: Repository): Promise<IdentityName> {
  let unread: PlexusError | undefined
  const names = await repository.list({
    unreadable: (error) => {
      unread ??= error
    },
  })
  const own: IdentityName[] = []
  for (let at = 0; at < names.length; at += LOOK_AHEAD) {
    const batch = names.slice(at, at + LOOK_AHEAD)
    const found = await Promise.all(batch.map((name) => repository.hasKey(name)))
    own.push(...batch.filter((_, index) => found[index]))
  }
  const [only] = own
  if (only === undefined) {
    if (unread) throw unread
    throw new PlexusError(
      'BAD_FLAG',
      `--host-info is missing, and no identity in ${repository.path} has a private key.`,
      { advice: 'Create one with: plexus id new <owner/pin>.' },
    )
  }
  if (own.length === 1) return only
  const told = own.slice(0, NAMES_TOLD).map(formatIdentity).join(', ')
  const more = own.length > NAMES_TOLD ? ` and ${own.length - NAMES_TOLD} more` : ''
  throw new PlexusError(
    'BAD_FLAG',
    `--host-info is missing, and several identities have a private key: ${told}${more}.`,
    {
      advice: 'Name the one to use in --host-info.',
    },
  )
}
