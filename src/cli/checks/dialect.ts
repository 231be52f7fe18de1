import { asPlexusError, PlexusError } from '../../errors/index.js'
import { type Dialect, formatIdentity, type IdentityName, type Repository } from '../../identity/index.js'
import { systemClock } from '../clock.js'
import { type Finding, found, ok } from './finding.js'

/** What a pairing in the dialect of plexus 3.x needs: nothing is found where it is not asked for. */
export async function checkDialect(
  general: Dialect,
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
  try {
    const chosen = (peer && (await repository.dialect(peer))) ?? general
    if (chosen === 'native') return []
    if (!urls.some((url) => url.startsWith('email:'))) {
      throw new PlexusError('BAD_FLAG', `The dialect is '${chosen}', but no --rendezvous is email.`, {
        advice: 'Add --rendezvous=email: with the --email flags of the account.',
      })
    }
    for (const name of [host, peer].filter((each) => each !== undefined)) {
      const own = name === host
      // one that cannot be read is found elsewhere
      const certificate = await (own
        ? repository.host(name).then((one) => one.certificate)
        : repository.certificate(name, { host: host ?? name, date: systemClock.date() })
      ).catch(() => undefined)
      if (certificate && certificate.keyKind !== 'rsa') {
        throw new PlexusError('DIALECT', `${formatIdentity(name)} has no RSA key.`)
      }
    }
    return [ok('dialect', `The dialect is '${chosen}': RSA keys and email are there.`)]
  } catch (thrown) {
    return [found('dialect', asPlexusError(thrown))]
  }
}
