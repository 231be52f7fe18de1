import { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from './name.js'

/** How many of those that fit are named when a short name is ambiguous. */
const NAMED = 5

/**
 * The one identity that a short name means.
 * @param fitting those whose owner or pin is `text`
 * @param own whether only own ones were looked at
 * @throws PlexusError IDENTITY_MISSING when none fits; IDENTITY_AMBIGUOUS when several do, naming them
 */
export function chooseIdentity(text: string, fitting: readonly IdentityName[], own: boolean): IdentityName {
  const [only] = fitting
  if (only && fitting.length === 1) return only
  if (!only) {
    const whose = own ? ' with a private key' : ''
    throw new PlexusError(
      'IDENTITY_MISSING',
      `No identity in the repository${whose} has the owner or the pin ${JSON.stringify(text)}.`,
      { advice: 'Write it as owner/pin; plexus id list shows the identities in the repository.' },
    )
  }
  const named = fitting.slice(0, NAMED).map(formatIdentity)
  const more = fitting.length > NAMED ? [`${fitting.length - NAMED} more`] : []
  throw new PlexusError(
    'IDENTITY_AMBIGUOUS',
    `${JSON.stringify(text)} can mean ${[...named, ...more].join(' or ')}.`,
  )
}
