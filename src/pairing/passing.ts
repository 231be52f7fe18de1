import { asPlexusError, PlexusError } from '../errors/index.js'
import type { IdentityName } from '../identity/index.js'
import { type Endpoint, familyOf, formatEndpoint, sameEndpoint, sleep } from '../net/index.js'
import type { PortMapping } from '../portmap/index.js'
import { type Candidate, punch } from '../punch/index.js'
import type { SessionKeys } from '../sealing/index.js'
import type { PairingContext } from './context.js'
import { type Gathering, innerEndpoint, probeable, reflexiveOf } from './gathering.js'
import type { MappingHint, Offer, Purpose } from './message.js'
import type { Passage, Role } from './passage.js'
import { CandidateStory, formatRecord, type Tell } from './story.js'
import { verdict } from './verdict.js'

/** How long an inviter that knows of the accepter's success lets it go ahead, in ms: its acknowledgements take 10. */
const HEAD_START = 15

/** What the peer says while a session goes on, however early it comes. */
export class PeerNews {
  /** What the peer has found out about its NAT since its offer. */
  mapping: MappingHint = 'unknown'
  #early: Candidate[] = []
  #sink: ((candidates: Candidate[]) => void) | undefined

  /** The peer has found more candidates. */
  update(candidates: readonly Candidate[], mapping: MappingHint): void {
    if (mapping !== 'unknown') this.mapping = mapping
    if (this.#sink) this.#sink([...candidates])
    else this.#early.push(...candidates)
  }

  /** From now on candidates go to `sink`, those that came before first. */
  connect(sink: (candidates: Candidate[]) => void): void {
    if (this.#early.length > 0) sink(this.#early)
    this.#early = []
    this.#sink = sink
  }
}

export interface PassingOptions {
  readonly role: Role
  readonly session: string
  readonly peer: IdentityName
  readonly keys: SessionKeys
  readonly gathering: Gathering
  readonly remote: Pick<Offer, 'candidates' | 'mapping'>
  readonly purpose?: Purpose
  /** Hears how it went. */
  readonly tell?: Tell
  /** Accepter: how long until it turns to full TTL when it has heard nothing, in ms. */
  readonly patience: number
  /** How long the punch may take, in ms. */
  readonly timeout: number
  readonly news: PeerNews
  readonly signal: AbortSignal
}

/**
 * Punches, and makes a passage of the path that both sides agreed on.
 * @throws PlexusError PUNCH_TIMEOUT, PEER_ABORTED, NO_PATH or STUN_UNREACHABLE (the likely causes of a punch that
 *   failed), or the signal's reason
 */
export async function pass(context: PairingContext, options: PassingOptions): Promise<Passage> {
  const { clock, log, random, hops } = context
  const { role, session, peer, keys, gathering, patience, timeout, news, signal, purpose, tell } = options
  const { port } = gathering
  const remote = probeable(gathering, options.remote.candidates)
  const shown = remote.map(({ kind, endpoint }) => `${kind} ${formatEndpoint(endpoint)}`).join(', ')
  log.info({}, `punching towards ${shown || 'whoever speaks first'}`)
  const started = clock.now()
  const story = new CandidateStory()
  const attempt = punch(port, {
    role,
    keys: keys.punch,
    remote,
    hops,
    patience,
    timeout,
    random,
    clock,
    log,
    signal,
    onEvent: (event, ms) => story.note(event, ms),
  })
  news.connect((candidates) => attempt.addCandidates(probeable(gathering, candidates)))
  const settled = () => {
    gathering.settle()
    const peerMapping = news.mapping === 'unknown' ? options.remote.mapping : news.mapping
    const candidates = story.records()
    for (const record of candidates) log.debug({}, `candidate ${formatRecord(record)}`)
    tell?.({ name: 'punched', candidates, mapping: { own: gathering.mapping, peer: peerMapping } })
    return peerMapping
  }
  const result = await attempt.result.catch((thrown: unknown) => {
    const mapping = settled()
    const error = asPlexusError(thrown)
    if (error.code === 'PUNCH_TIMEOUT') {
      const impossible = verdict(gathering, { candidates: options.remote.candidates, mapping })
      if (impossible) {
        log.info({ code: error.code }, error.message)
        throw impossible
      }
    }
    if (error.code === 'PUNCH_TIMEOUT' && gathering.failure) {
      throw new PlexusError('STUN_UNREACHABLE', `${gathering.failure.message} ${error.message}`, {
        cause: error,
      })
    }
    throw error
  })
  settled()
  // the accepter goes on acknowledging for a moment before it hands over: its command is to start first
  if (role === 'inviter' && result.acknowledged) await sleep(clock, HEAD_START, signal)
  const inner = await innerEndpoint(port, result.peer)
  const portMapping = mappingOf(gathering, result.outer)
  const translated = result.kind === 'host' ? undefined : reflexiveOf(gathering, familyOf(result.peer))
  const outer = portMapping?.external ?? translated ?? inner
  log.info(
    {},
    `punched in ${Math.round(clock.now() - started)} ms: ${formatEndpoint(inner)} to ${formatEndpoint(result.peer)} (${result.kind})`,
  )
  return {
    role,
    ...(purpose ? { purpose } : {}),
    app: context.app,
    session,
    host: context.host.name,
    peer,
    inner,
    outer,
    faraway: result.peer,
    kind: result.kind,
    rtt: result.rtt,
    keys,
    port,
    ...(portMapping ? { portMapping } : {}),
  }
}

/** The port mapping, if the peer sends to it, or if nobody knows where it sends to; else it is given back. */
function mappingOf({ portMapping }: Gathering, outer: Endpoint | undefined): PortMapping | undefined {
  const external = portMapping?.external
  if (external && (outer === undefined || sameEndpoint(outer, external))) return portMapping
  void portMapping?.release()
  return undefined
}
