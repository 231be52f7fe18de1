import { PlexusError } from '../../errors/index.js'
import { formatIdentity, type IdentityName, type Repository } from '../../identity/index.js'
import { type Logger, scopeOf } from '../../net/index.js'
import { formatService, type Import, parseShare, parseShareName, type Share } from '../../wormhole/index.js'
import { resolveFlag } from './short-name.js'
import type { Values } from './values.js'

/** The bound of `--wait`, in seconds. */
export const LONGEST_WAIT = 3600

const SHARE = '[name=][host:]port, udp:[host:]port or unix:/path, and ,peer=name behind it'

/** What `--export`, `--import` and `--stdio` say. */
export interface Forwards {
  readonly exports: readonly Share[]
  readonly imports: readonly Share[]
  /** The service for standard input and output; with it there is nothing else. */
  readonly stdio: string | undefined
  /** ms */
  readonly wait: number
}

/**
 * What is to go through a tunnel within this program; undefined if nothing is.
 * @throws PlexusError BAD_FLAG
 */
export function forwardsOf(values: Values, { accept }: { accept: boolean }): Forwards | undefined {
  const exports = values.each('export', SHARE, parseShare)
  const imports = values.each('import', SHARE, parseShare)
  const stdio =
    values.label('stdio') === undefined
      ? undefined
      : values.parsed('stdio', 'the name of a service', parseShareName)
  const wait = values.whole('wait', 0, LONGEST_WAIT, 30) * 1000
  if (imports.length === 0) refuseBeside(values, ['wait'], 'which needs --import')
  if (exports.length + imports.length === 0 && stdio === undefined) return undefined
  refuseBeside(values, ['exec-command'], 'but --export, --import and --stdio keep the hole for a tunnel')
  if (values.text('dialect') === 'plexus-3') {
    throw new PlexusError(
      'BAD_FLAG',
      `${values.label('dialect')} asks for plexus-3, whose peers have no tunnel.`,
      {
        advice: 'Use --exec-command=wormhole with them: then it is the C++ one in PATH.',
      },
    )
  }
  if (stdio !== undefined) {
    refuseBeside(values, ['export', 'import', 'keep'], 'but --stdio is for one connection alone')
    if (accept)
      throw new PlexusError('BAD_FLAG', '--stdio is for an inviter: it asks for a service of the peer.')
  }
  for (const { name, service } of exports) {
    if (service.kind !== 'unix' && service.port === 0) {
      throw new PlexusError('BAD_FLAG', `--export has '${name}' at port 0, but a service is at 1 to 65535.`)
    }
  }
  refuseClashes(exports)
  for (const [flag, shares] of [['export', exports] as const, ['import', imports] as const]) {
    if (!accept && shares.some(({ peers }) => peers.length > 0)) {
      throw new PlexusError(
        'BAD_FLAG',
        `--${flag} has ,peer=, but an inviter has one peer, that of --peer-info.`,
      )
    }
  }
  return { exports, imports, stdio, wait }
}

function refuseBeside(values: Values, names: readonly string[], why: string): void {
  const [label] = names.flatMap((name) => values.label(name) ?? [])
  if (label !== undefined) throw new PlexusError('BAD_FLAG', `${label} is given, ${why}.`)
}

/** One name may lead one peer to one service alone. */
function refuseClashes(exports: readonly Share[]): void {
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

/**
 * The forwards with every peer by its full name.
 * @param peer that of `--peer-info`
 * @throws PlexusError BAD_FLAG, IDENTITY_MISSING, IDENTITY_AMBIGUOUS
 */
export async function resolveForwards(
  { exports, imports, wait }: Forwards,
  repository: Repository,
  peer: IdentityName | undefined,
): Promise<{ exports: readonly Share[]; imports: readonly Import[]; wait: number }> {
  const own = peer && formatIdentity(peer)
  const resolved = async (flag: string, texts: readonly string[]) => {
    const names = []
    for (const text of texts) {
      const name = formatIdentity(await resolveFlag(repository, flag, text))
      if (own !== undefined && name !== own) {
        throw new PlexusError('BAD_FLAG', `--${flag} is for ${name}, but --peer-info lets ${own} alone pair.`)
      }
      names.push(name)
    }
    return names
  }
  const shared: Share[] = []
  for (const share of exports) shared.push({ ...share, peers: await resolved('export', share.peers) })
  refuseClashes(shared)
  const wanted: Import[] = []
  for (const { name, service, peers } of imports) {
    const [from = own, ...more] = await resolved('import', peers)
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
