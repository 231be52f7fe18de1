import { PortRange } from '../../net/index.js'
import { OFFER_KINDS, type OfferKind, type PairingContext } from '../../pairing/index.js'
import { type RendezvousOptions, rendezvousOptions, rendezvousUrls } from './rendezvous-options.js'
import type { Values } from './values.js'

/** The bounds of `--timeout` in seconds, and of `--punch-hops`. */
const LONGEST_TIMEOUT = 24 * 3600
const MOST_HOPS = 255

/** What the flags say of how the two sides meet, whatever comes of it. */
export interface Meeting {
  readonly app: string
  /** Where the sides meet: the DHT unless something else is named or described. */
  readonly urls: readonly string[]
  /** As given: without any some public ones are asked. */
  readonly stun: readonly string[]
  /** What the flags say to the rendezvous that they configure. */
  readonly options: RendezvousOptions
  /** The kinds of candidates to let others know of. */
  readonly kinds: ReadonlySet<OfferKind>
  /** Whether ports may be searched for. */
  readonly search: boolean
  readonly hops: number
  /** ms */
  readonly timeout: number
}

/** @throws PlexusError BAD_FLAG */
export function meetingOf(values: Values): Meeting & { readonly bind: PairingContext['bind'] } {
  return {
    app: values.text('app-id') ?? 'plexus',
    urls: rendezvousUrls(values),
    bind: bindOf(values),
    kinds: kindsOf(values),
    search: !values.switch('no-search'),
    hops: values.whole('punch-hops', 1, MOST_HOPS, 7),
    timeout: values.whole('timeout', 1, LONGEST_TIMEOUT, 60) * 1000,
    stun: values.hosts('stun-server', 3478),
    options: rendezvousOptions(values),
  }
}

/** From where to punch. @throws PlexusError BAD_FLAG */
function bindOf(values: Values): PairingContext['bind'] {
  const bind = values.address('stun-client')
  const ports = values.ports('port-range')
  if (!ports) return bind ?? {}
  if (bind && bind.port !== 0) {
    throw values.wrong('port-range', 'left out, since --stun-client names the port')
  }
  const range = new PortRange(ports.from, ports.to)
  return bind ? { address: bind.address, range } : { range }
}

/** What to let others know of. @throws PlexusError BAD_FLAG */
function kindsOf(values: Values): ReadonlySet<OfferKind> {
  const words = values.many('candidates').flatMap((value) => value.split(','))
  const named = words.map((word) => {
    const kind = OFFER_KINDS.find((each) => each === word.trim())
    if (kind === undefined) throw values.wrong('candidates', `some of ${OFFER_KINDS.join(', ')}`)
    return kind
  })
  const kinds = new Set(named.length > 0 ? named : OFFER_KINDS)
  if (values.switch('no-port-mapping')) kinds.delete('mapped')
  if (kinds.size === 0) throw values.wrong('candidates', 'more than mapped, which --no-port-mapping forbids')
  return kinds
}
