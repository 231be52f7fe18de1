import { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName, type Repository } from '../identity/index.js'
import { type Logger, scopeOf } from '../net/index.js'
import { formatService, type Import, type Share } from '../wormhole/index.js'
import { resolveNamed } from './named.js'
import type { ForwardingSettings } from './settings.js'

/** Refuses exports by which one name would lead one peer to two services. @throws PlexusError BAD_FLAG */
export function refuseClashes(exports: readonly Share[]): void {
  for (const [index, one] of exports.entries()) {
    const clash = exports
      .slice(0, index)
      .find(
        ({ name, peers }) =>
          name === one.name &&
          (peers.length === 0 || one.peers.length === 0 || peers.some((peer) => one.peers.includes(peer))),
      )
    if (clash === undefined) continue
    const [first, second] = [formatService(clash.service), formatService(one.service)]
    throw new PlexusError('BAD_FLAG', `--export has the name '${one.name}' twice: ${first} and ${second}.`, {
      advice: 'Give each a name of its own, as in --export web=80 --export admin=8080.',
    })
  }
}

/** What a forwarding is opened with: every peer by its full name. */
export interface Forwards {
  readonly exports: readonly Share[]
  readonly imports: readonly Import[]
  /** ms */
  readonly wait: number
}

/**
 * The services with every peer by its full name.
 * @param peer the only one that pairs, if there is one
 * @throws PlexusError BAD_FLAG, IDENTITY_MISSING, IDENTITY_AMBIGUOUS
 */
export async function resolveForwards(
  { exports, imports, wait }: ForwardingSettings,
  repository: Repository,
  peer: IdentityName | undefined,
): Promise<Forwards> {
  const own = peer && formatIdentity(peer)
  const resolved = async (from: string, texts: readonly string[]) => {
    const names = []
    for (const text of texts) {
      const name = formatIdentity(await resolveNamed(repository, { text, from }))
      if (own !== undefined && name !== own) {
        throw new PlexusError('BAD_FLAG', `${from} is for ${name}, but --peer-info lets ${own} alone pair.`)
      }
      names.push(name)
    }
    return names
  }
  const shared: Share[] = []
  for (const share of exports) shared.push({ ...share, peers: await resolved('--export', share.peers) })
  refuseClashes(shared)
  const wanted: Import[] = []
  for (const { name, service, peers } of imports) {
    const [from = own, ...more] = await resolved('--import', peers)
    if (from === undefined || more.length > 0) {
      throw new PlexusError(
        'BAD_FLAG',
        `--import has '${name}' of ${more.length > 0 ? 'several peers' : 'no peer'}, but an import is of one.`,
        { advice: 'Name it behind the service: --import ssh=2222,peer=laptop.' },
      )
    }
    wanted.push({ name, service, peer: from })
  }
  return { exports: shared, imports: wanted, wait }
}

/** Says who else can use what is imported. */
export function announceImports(imports: readonly Import[], log: Logger): void {
  for (const { name, service } of imports) {
    if (service.kind === 'unix' || service.host === 'localhost' || scopeOf(service.host) === 'loopback')
      continue
    log.warn({}, `everybody who reaches ${formatService(service)} can use '${name}' of the peer`)
  }
}
