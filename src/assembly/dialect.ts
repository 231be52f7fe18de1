import { join } from 'node:path'
import type { DialectSettings as Spoken } from '../daemon/index.js'
import { DialectChoice, NativePeers } from '../dialect/index.js'
import { PlexusError } from '../errors/index.js'
import type { Dialect, Host, IdentityName, Repository } from '../identity/index.js'
import { silent } from '../net/index.js'
import type { PairingContext } from '../pairing/index.js'
import type { DialectSettings } from './settings.js'

const EC_KEY = 'Your identity has an EC key, which plexus 3.x peers cannot use.'

/** The same for who only wants to know. @throws PlexusError as `requireDialect` */
export function lookAtDialect(
  settings: Pick<DialectSettings, 'language' | 'from'>,
  around: { repository: Repository; host: Host; peer: IdentityName | undefined; letters: boolean },
): Promise<Dialect> {
  return requireDialect(new DialectChoice(around.repository, settings.language, silent), settings, around)
}

/**
 * The dialect that is spoken with a peer, or with all of them.
 * @throws PlexusError BAD_FLAG, BAD_CONFIG, DIALECT where that cannot work
 */
async function requireDialect(
  choice: DialectChoice,
  { language, from }: Pick<DialectSettings, 'language' | 'from'>,
  {
    repository,
    host,
    peer,
    letters,
  }: { repository: Repository; host: Host; peer: IdentityName | undefined; letters: boolean },
): Promise<Dialect> {
  const chosen = peer ? await choice.of(peer) : language
  if ((chosen !== 'native' || language !== 'native') && !letters) {
    const given = from ?? (peer ? repository.paths(peer).dialect : '--dialect')
    throw new PlexusError('BAD_FLAG', `${given} asks for '${chosen}', but there is no --rendezvous=email:.`, {
      advice:
        'Add --rendezvous=email: with the --email flags of your account: plexus 3.x peers can only be reached there.',
    })
  }
  if (chosen === 'plexus-3' && host.certificate.keyKind !== 'rsa') throw new PlexusError('DIALECT', EC_KEY)
  return chosen
}

/**
 * How peers are spoken with that know an older language.
 * @param peer whom an inviter invites
 * @param directory the state of this identity and application
 * @throws PlexusError BAD_FLAG, BAD_CONFIG, DIALECT where that cannot work
 */
export async function dialectOf(
  { language, from, allowPlain }: DialectSettings,
  { repository, host, log, rendezvous }: PairingContext,
  { accept, peer, directory }: { accept: boolean; peer: IdentityName | undefined; directory: string },
): Promise<Spoken> {
  const choice = new DialectChoice(repository, language, log)
  const invited = accept ? undefined : peer
  const letters = rendezvous.letters !== undefined
  const chosen = await requireDialect(
    choice,
    { language, from },
    { repository, host, peer: invited, letters },
  )
  if (accept && chosen !== 'native' && host.certificate.keyKind !== 'rsa')
    log.warn({ code: 'DIALECT' }, `${EC_KEY} Such peers are answered once it has an RSA key.`)
  if (accept && language !== 'native')
    log.info({}, `plexus 3.x peers are answered over email: --dialect=${language}`)
  if (allowPlain) {
    log.warn(
      {},
      '--allow-plain: anybody who can write to the mailbox can pair as any plexus 3.x peer in the repository, and read the answer',
    )
  }
  return { choice, natives: new NativePeers(join(directory, 'native-peers'), log), allowPlain, directory }
}
