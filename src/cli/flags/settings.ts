import {
  type BindSettings,
  type Named,
  type NetworkSettings,
  OFFER_KINDS,
  type OfferKind,
  type PairingSettings,
} from '../../assembly/index.js'
import { DIALECTS } from '../../identity/index.js'
import { DEFAULT_STUN_SERVERS } from '../../stun/index.js'
import { defaultRepository, defaultStateDirectory } from './defaults.js'
import { rendezvousOptions, rendezvousUrls } from './rendezvous-options.js'
import type { Values } from './values.js'

/** The bounds of `--timeout` in seconds, and of `--punch-hops`. */
const LONGEST_TIMEOUT = 24 * 3600
const MOST_HOPS = 255

/** What the flags say of this side, and of how the two sides meet. @throws PlexusError BAD_FLAG */
export function pairingSettings(values: Values): PairingSettings {
  const host = namedBy(values, 'host-info')
  return {
    app: values.text('app-id') ?? 'plexus',
    meeting: { urls: rendezvousUrls(values), options: rendezvousOptions(values) },
    network: networkSettings(values),
    ...timeoutOf(values),
    repository: values.path('app-repo') ?? defaultRepository(),
    ...(host ? { host } : {}),
    state: stateDirectory(values),
    dialect: dialectSettings(values),
  }
}

function timeoutOf(values: Values): { timeout?: number } {
  if (values.text('timeout') === undefined) return {}
  return { timeout: values.whole('timeout', 1, LONGEST_TIMEOUT, 60) * 1000 }
}

/** What the flags say of the network. @throws PlexusError BAD_FLAG */
export function networkSettings(values: Values): NetworkSettings {
  const stun = values.hosts('stun-server', 3478)
  return {
    stunServers: stun.length > 0 ? stun : DEFAULT_STUN_SERVERS,
    bind: bindSettings(values),
    kinds: kindsOf(values),
    search: !values.switch('no-search'),
    hops: values.whole('punch-hops', 1, MOST_HOPS, 7),
  }
}

/** Whom a flag names, if it is given. @throws PlexusError BAD_FLAG */
export function namedBy(values: Values, flag: string): Named | undefined {
  const text = values.text(flag)
  return text === undefined ? undefined : { text, from: `--${flag}` }
}

/** Where state is kept: the folders of all identities and applications are in there. */
export function stateDirectory(values: Values): string {
  return values.path('state-dir') ?? defaultStateDirectory()
}

function dialectSettings(values: Values): PairingSettings['dialect'] {
  const language = values.choice('dialect', DIALECTS, 'native')
  const from = values.label('dialect')
  return { language, ...(from === undefined ? {} : { from }), allowPlain: values.switch('allow-plain') }
}

/** From where to punch. @throws PlexusError BAD_FLAG */
function bindSettings(values: Values): BindSettings {
  const bind = values.address('stun-client')
  const ports = values.ports('port-range')
  if (!ports) return bind ?? {}
  if (bind && bind.port !== 0) {
    throw values.wrong('port-range', 'left out, because --stun-client sets the port')
  }
  return bind ? { address: bind.address, ports } : { ports }
}

/** What to let others know of. @throws PlexusError BAD_FLAG */
function kindsOf(values: Values): readonly OfferKind[] {
  const words = values.many('candidates').flatMap((value) => value.split(','))
  const named = words.map((word) => {
    const kind = OFFER_KINDS.find((each) => each === word.trim())
    if (kind === undefined) throw values.wrong('candidates', `some of ${OFFER_KINDS.join(', ')}`)
    return kind
  })
  const all = named.length > 0 ? [...new Set(named)] : OFFER_KINDS
  const kinds = all.filter((kind) => kind !== 'mapped' || !values.switch('no-port-mapping'))
  if (kinds.length === 0) {
    throw values.wrong('candidates', 'more than mapped, which --no-port-mapping rules out')
  }
  return kinds
}
