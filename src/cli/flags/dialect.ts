import { join } from 'node:path'
import type { DialectSettings } from '../../daemon/index.js'
import { DialectChoice, NativePeers } from '../../dialect/index.js'
import { PlexusError } from '../../errors/index.js'
import { DIALECTS, type Dialect, type IdentityName } from '../../identity/index.js'
import type { PairingContext } from '../../pairing/index.js'
import type { Values } from './values.js'

/** What `--dialect` says. @throws PlexusError BAD_FLAG */
export function dialectFlag(values: Values): Dialect {
  return values.choice('dialect', DIALECTS, 'native')
}

/**
 * How peers are spoken with that know an older language.
 * @param peer whom an inviter invites
 * @param directory the state of this identity and application
 * @throws PlexusError BAD_FLAG, BAD_CONFIG, DIALECT where that cannot work
 */
export async function dialectOf(
  values: Values,
  { repository, host, log, rendezvous }: PairingContext,
  { accept, peer, directory }: { accept: boolean; peer: IdentityName | undefined; directory: string },
): Promise<DialectSettings> {
  const general = dialectFlag(values)
  const choice = new DialectChoice(repository, general, log)
  const chosen = !accept && peer ? await choice.of(peer) : general
  if ((chosen !== 'native' || general !== 'native') && rendezvous.letters === undefined) {
    const given = values.label('dialect') ?? (peer ? repository.paths(peer).dialect : '--dialect')
    throw new PlexusError('BAD_FLAG', `${given} asks for '${chosen}', but no --rendezvous is email.`, {
      advice:
        'Add --rendezvous=email: with the --email flags of the account: plexus 3.x peers are met there alone.',
    })
  }
  if (chosen !== 'native' && host.certificate.keyKind !== 'rsa') {
    const sentence = 'The own identity has an EC key, which no plexus 3.x peer can use.'
    if (chosen === 'plexus-3') throw new PlexusError('DIALECT', sentence)
    if (accept) log.warn({ code: 'DIALECT' }, `${sentence} Such peers are answered once it has an RSA key.`)
  }
  if (accept && general !== 'native')
    log.info({}, `plexus 3.x peers are answered over email: --dialect=${general}`)
  const allowPlain = values.switch('allow-plain')
  if (allowPlain) {
    log.warn(
      {},
      '--allow-plain: whoever can write to the mailbox can pair as any plexus 3.x peer of the repository, and read what is answered',
    )
  }
  return { choice, natives: new NativePeers(join(directory, 'native-peers'), log), allowPlain, directory }
}
