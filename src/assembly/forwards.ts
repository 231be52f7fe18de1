import { asPlexusError, PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { type Logger, scopeOf } from '../net/index.js'
import { formatService, type Import, type Share } from '../wormhole/index.js'
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
    throw new PlexusError('BAD_FLAG', `--export uses the name '${one.name}' twice: ${first} and ${second}.`, {
      advice: 'Give each a different name, as in --export web=80 --export admin=8080.',
    })
  }
}

/** What a forwarding is opened with: every peer by its full name. */
export interface Forwards {
  readonly exports: readonly Share[]
  readonly imports: readonly Import[]
  /** ms */
  readonly wait: number
  /** What is left out for now, and why: a key that tells it apart, and a sentence. */
  readonly absent: ReadonlyMap<string, PlexusError>
}

/**
 * Who is meant, by the full name, if that peer may pair.
 * @throws PlexusError BAD_FLAG for no name, and why the peer may not pair just now
 */
export type PeerLookup = (text: string, from: string) => Promise<string>

/**
 * The services with every peer by its full name. Those of peers that may not pair just now are left out: what is wrong with
 * one peer takes nothing from the others.
 * @param peer the only one that pairs, if there is one
 * @throws PlexusError BAD_FLAG, and what the lookup throws of the only peer
 */
export async function resolveForwards(
  { exports, imports, wait }: ForwardingSettings,
  lookUp: PeerLookup,
  peer: IdentityName | undefined,
): Promise<Forwards> {
  const own = peer && formatIdentity(peer)
  const absent = new Map<string, PlexusError>()
  const resolved = async (what: string, from: string, texts: readonly string[]) => {
    const names: string[] = []
    for (const text of texts) {
      try {
        const name = await lookUp(text, from)
        if (own !== undefined && name !== own) {
          throw new PlexusError('BAD_FLAG', `${from} is for ${name}, but --peer-info allows only ${own}.`)
        }
        names.push(name)
      } catch (thrown) {
        const error = asPlexusError(thrown)
        if (own !== undefined || error.code === 'BAD_FLAG' || error.code === 'INTERNAL') throw thrown
        absent.set(`${what} ${text}`, error)
      }
    }
    return names
  }
  const shared: Share[] = []
  for (const share of exports) {
    const peers = await resolved(`export '${share.name}' to`, '--export', share.peers)
    // an empty list would let everybody in
    if (peers.length > 0 || share.peers.length === 0) shared.push({ ...share, peers })
  }
  refuseClashes(shared)
  const wanted: Import[] = []
  for (const { name, service, peers } of imports) {
    if (peers.length > 1 || (peers.length === 0 && own === undefined)) {
      throw new PlexusError(
        'BAD_FLAG',
        `--import has '${name}' of ${peers.length > 1 ? 'several peers' : 'no peer'}, but an import needs exactly one.`,
        { advice: 'Add it to the service: --import ssh=2222,peer=laptop.' },
      )
    }
    const [from = own] = await resolved(`import '${name}' of`, '--import', peers)
    if (from !== undefined) wanted.push({ name, service, peer: from })
  }
  return { exports: shared, imports: wanted, wait, absent }
}

/** Says who else can use what is imported. */
export function announceImports(imports: readonly Import[], log: Logger): void {
  for (const { name, service } of imports) {
    if (service.kind === 'unix' || service.host === 'localhost' || scopeOf(service.host) === 'loopback')
      continue
    log.warn({}, `everybody who can reach ${formatService(service)} can use '${name}' of the peer`)
  }
}
