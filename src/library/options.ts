import type { Rendezvous } from '../../rendezvous/interface.js'
import type { NetworkSettings } from '../assembly/index.js'
import type { Budget } from '../budget/index.js'
import { PlexusError } from '../errors/index.js'
import { checkIdentityName, type IdentityName, parseIdentity, type Repository } from '../identity/index.js'
import type { Clock, Logger, Random } from '../net/index.js'
import { OFFER_KINDS, type OfferKind } from '../pairing/index.js'
import type { PlainLog } from './log.js'

/** Clock, randomness and log; the defaults are the system's clock and randomness, and no log. */
export interface Surroundings {
  /** The system's clock. */
  readonly clock?: Clock
  /** Default: the system's randomness. If you replace it, the secrecy of the keys depends on yours. */
  readonly random?: Random
  /** A pino logger, or `console`. Default: no log. Secrets are never logged. */
  readonly log?: Logger | PlainLog
  /**
   * What peers may use of this process, all together and each. Without it one for the process, whose ceilings come from the
   * system's limits (`systemCeilings`). Tunnels that are given the same one share it.
   */
  readonly budget?: Budget
}

/** Options of both roles of a pairing. */
export interface PairingOptions extends Surroundings {
  /** The application repository: its path, or one that is open already. */
  readonly repository: string | Repository
  /** Your identity, `owner/pin`. The repository holds its certificate and private key. */
  readonly host: string | IdentityName
  /**
   * Where to meet: URLs as `--rendezvous` takes them (`dht:`, `dir:/path`, …), several side by side, or an open
   * rendezvous. plexus closes what it opens from a URL; a rendezvous that you pass in stays yours to close.
   * `dht:` alone is the public HyperDHT.
   */
  readonly rendezvous: string | readonly string[] | Rendezvous
  /** Options of a rendezvous by name, as in `{ 'dht-bootstrap': ['192.0.2.1:49737'] }`. */
  readonly rendezvousOptions?: Readonly<Record<string, string | readonly string[] | undefined>>
  /** The application; only sides with the same one pair. Default: `plexus` */
  readonly app?: string
  /**
   * STUN servers as `host[:port]`. None without it: nothing that was not asked for is contacted, and only sides in
   * one network find each other. `DEFAULT_STUN_SERVERS` are public ones.
   */
  readonly stunServers?: readonly string[]
  /** The local address and UDP port to punch from; the system chooses what is left out. */
  readonly bind?: { readonly address?: string; readonly port?: number }
  /** The kinds of candidates to offer the peer. Default: all */
  readonly candidates?: readonly OfferKind[]
  /**
   * Whether to ask the router of this network, by PCP, NAT-PMP or UPnP, to map the port while a passage needs it.
   * Default: false.
   */
  readonly portMapping?: boolean
  /** TTL of the opening packets, in hops, 1 to 255. Default: 7 */
  readonly hops?: number
  /**
   * Whether ports may be searched for, with some hundred sockets and at most 3,000 small datagrams, where one side is
   * behind a symmetric NAT. true
   */
  readonly search?: boolean
  /** How long one pairing may take, in ms. Without it a minute, and twice the latency of the rendezvous. */
  readonly timeout?: number
  /**
   * A directory (made 0700 if there is none) for persistent state: the sessions already seen, and keys of a rendezvous.
   * Default: a temporary one, removed at the end. Then a replayed invite is only recognized until the accepter ends, and
   * an accepter in the DHT must be found again after each start.
   */
  readonly stateDirectory?: string
  /** Ends the call and everything that it started. */
  readonly signal?: AbortSignal
}

/** `--punch-hops` of the command line has the same default. */
const HOPS = 7
/** A day, in ms: who waits longer invites again. */
const LONGEST_TIMEOUT = 24 * 3_600_000
/** An application's name goes into every message; the parser of the other side takes as much. */
const LONGEST_APP = 255

/** What is left to be opened, once the plain values were found to be good. */
export interface CheckedOptions {
  readonly host: IdentityName
  readonly app: string
  readonly network: NetworkSettings
  /** ms */
  readonly timeout?: number
}

/**
 * Checks what a program wrote, before anything is opened or sent: not every caller has a compiler.
 * @throws PlexusError BAD_OPTION, IDENTITY_NAME
 */
export function checkOptions(options: PairingOptions): CheckedOptions {
  const { bind = {} } = options
  const { app = 'plexus', stunServers = [], hops = HOPS, timeout } = options
  if (typeof app !== 'string' || app === '' || app.length > LONGEST_APP)
    throw badOption('app', app, `a text of 1 to ${LONGEST_APP} characters`)
  if (!Array.isArray(stunServers) || !stunServers.every((server) => typeof server === 'string'))
    throw badOption('stunServers', stunServers, 'a list of host[:port]')
  const { portMapping = false, candidates = OFFER_KINDS } = options
  if (typeof portMapping !== 'boolean') throw badOption('portMapping', portMapping, 'true or false')
  const isKind = (kind: unknown) => OFFER_KINDS.some((each) => each === kind)
  if (!Array.isArray(candidates) || candidates.length === 0 || !candidates.every(isKind))
    throw badOption('candidates', candidates, `a list of ${OFFER_KINDS.join(', ')}`)
  if (typeof bind !== 'object' || bind === null) throw badOption('bind', bind, '{ address?, port? }')
  if (bind.address !== undefined && typeof bind.address !== 'string')
    throw badOption('bind.address', bind.address, 'an IP address of this machine')
  const { search = true } = options
  if (typeof search !== 'boolean') throw badOption('search', search, 'true or false')
  return {
    host: identityOption('host', options.host),
    app,
    network: {
      stunServers,
      bind: {
        ...(bind.address === undefined ? {} : { address: bind.address }),
        ...(bind.port === undefined ? {} : { port: wholeOption('bind.port', bind.port, 0, 65_535) }),
      },
      kinds: candidates.filter((kind) => portMapping || kind !== 'mapped'),
      search,
      hops: wholeOption('hops', hops, 1, 255),
    },
    ...(timeout === undefined ? {} : { timeout: wholeOption('timeout', timeout, 1, LONGEST_TIMEOUT) }),
  }
}

/** @throws PlexusError BAD_OPTION when there is nothing of the kind, IDENTITY_NAME when it is no name */
export function identityOption(option: string, value: unknown): IdentityName {
  if (typeof value === 'string') return parseIdentity(value)
  const { owner, pin } = (value ?? {}) as { owner?: unknown; pin?: unknown }
  if (typeof owner !== 'string' || typeof pin !== 'string') throw badOption(option, value, 'owner/pin')
  const name = { owner, pin }
  checkIdentityName(name)
  return name
}

/** @throws PlexusError BAD_OPTION */
export function wholeOption(option: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    throw badOption(option, value, `a whole number from ${least} to ${most}`)
  return value
}

export function badOption(option: string, value: unknown, expected: string): PlexusError {
  const shown = typeof value === 'string' ? `'${value.slice(0, 80)}'` : kindOf(value)
  return new PlexusError('BAD_OPTION', `The option '${option}' is ${shown}, but must be ${expected}.`)
}

/** Objects may be anything, a key for instance: they are named, never shown. */
function kindOf(value: unknown): string {
  if (value === undefined) return 'missing'
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value)
  return Array.isArray(value) ? 'a list' : `of type ${typeof value}`
}
