import { isIP } from 'node:net'
import { refuseClashes } from '../../assembly/index.js'
import { PlexusError } from '../../errors/index.js'
import { parseShare, parseShareName, type Share } from '../../wormhole/index.js'
import type { Values } from './values.js'

/** The bound of `--wait`, in seconds. */
export const LONGEST_WAIT = 3600

const SHARE = '[name=][host:]port, udp:[host:]port or unix:/path, optionally followed by ,peer=name'

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
  refuseBeside(values, ['exec-command'], 'but --export, --import and --stdio use the hole for a tunnel')
  if (values.text('dialect') === 'plexus-3') {
    throw new PlexusError(
      'BAD_FLAG',
      `${values.label('dialect')} asks for plexus-3, whose peers have no tunnel.`,
      {
        advice: 'Use --exec-command=wormhole with them: it then runs the C++ wormhole in PATH.',
      },
    )
  }
  if (stdio !== undefined) {
    refuseBeside(values, ['export', 'import', 'keep'], 'but --stdio is for a single connection')
    if (accept) throw new PlexusError('BAD_FLAG', '--stdio is for an inviter: it uses a service of the peer.')
  }
  for (const { name, service } of exports) {
    if (service.kind !== 'unix' && service.port === 0) {
      throw new PlexusError(
        'BAD_FLAG',
        `--export has '${name}' at port 0, but the port of a service is 1 to 65535.`,
      )
    }
  }
  refuseClashes(exports)
  for (const share of imports) refuseFarHost(share)
  for (const [flag, shares] of [['export', exports] as const, ['import', imports] as const]) {
    if (!accept && shares.some(({ peers }) => peers.length > 0)) {
      throw new PlexusError(
        'BAD_FLAG',
        `--${flag} has ,peer=, but an inviter has only one peer, the one in --peer-info.`,
      )
    }
  }
  return { exports, imports, stdio, wait }
}

/** An import listens on this machine: a name there is the name of a service that was meant. */
function refuseFarHost({ service, name }: Share): void {
  if (service.kind === 'unix' || isIP(service.host) !== 0 || service.host === 'localhost') return
  const { host, port } = service
  const meant = name === String(port) ? `${host}=${port}` : `${name}=${port}`
  throw new PlexusError(
    'BAD_FLAG',
    `--import has the host '${host}', but an import listens on this machine: at localhost or an IP address.`,
    { advice: `Did you mean --import ${meant}?` },
  )
}

function refuseBeside(values: Values, names: readonly string[], why: string): void {
  const [label] = names.flatMap((name) => values.label(name) ?? [])
  if (label !== undefined) throw new PlexusError('BAD_FLAG', `${label} is given, ${why}.`)
}
