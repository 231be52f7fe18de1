import { type DialectSettings, lookAtDialect } from '../../assembly/index.js'
import { asPlexusError, PlexusError } from '../../errors/index.js'
import { formatIdentity, type IdentityName, type Repository } from '../../identity/index.js'
import { systemClock } from '../clock.js'
import { type Finding, found, ok } from './finding.js'

/** What a pairing in the dialect of plexus 3.x needs: nothing is found where it is not asked for. */
export async function checkDialect(
  settings: DialectSettings,
  {
    repository,
    host,
    peer,
    urls,
  }: {
    readonly repository: Repository
    readonly host: IdentityName | undefined
    readonly peer: IdentityName | undefined
    readonly urls: readonly string[]
  },
): Promise<Finding[]> {
  // one that cannot be read is found elsewhere
  const own = host && (await repository.host(host).catch(() => undefined))
  if (own === undefined) return []
  try {
    const letters = urls.some((url) => url.startsWith('email:'))
    const chosen = await lookAtDialect(settings, { repository, host: own, peer, letters })
    if (chosen === 'native') return []
    const theirs =
      peer &&
      (await repository
        .certificate(peer, { host: own.name, date: systemClock.date() })
        .catch(() => undefined))
    if (peer && theirs && theirs.keyKind !== 'rsa')
      throw new PlexusError('DIALECT', `${formatIdentity(peer)} has no RSA key.`)
    return [ok('dialect', `The dialect is '${chosen}': RSA keys and email are there.`)]
  } catch (thrown) {
    return [found('dialect', asPlexusError(thrown))]
  }
}
