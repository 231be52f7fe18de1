import { asPlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { deadline, type Endpoint, familyOf, formatEndpoint, sameEndpoint, sleep } from '../net/index.js'
import type { PortMapping } from '../portmap/index.js'
import { addressOf, isSearch, isSymmetric, type NatHint, type Punched, punch } from '../punch/index.js'
import type { Agreement, SessionKeys } from '../sealing/index.js'
import { publish } from '../watch/index.js'
import type { PairingContext } from './context.js'
import { type Gathering, innerEndpoint, probeable, reflexiveOf } from './gathering.js'
import type { Offer, Purpose } from './message.js'
import { afterwards, giveUpEarly } from './outlook.js'
import type { Passage, Role } from './passage.js'
import type { PeerNews } from './peer-news.js'
import { openFurther, ownProspect, peerProspect } from './prospects.js'
import { CandidateStory, formatRecord } from './story.js'

/** How long an inviter that knows of the accepter's success lets it go ahead, in ms: its acknowledgements take 10. */
const HEAD_START = 15

/** In the words of the log. */
const AGREEMENTS: Readonly<Record<Agreement, string>> = {
  hybrid: 'X25519 and ML-KEM-768',
  x25519: 'X25519 alone: one of the sides has no post-quantum key exchange',
}

export interface PassingOptions {
  readonly role: Role
  readonly session: string
  readonly peer: IdentityName
  /** Of the certificate that signed the peer's message. */
  readonly fingerprint: Buffer
  readonly keys: SessionKeys
  readonly gathering: Gathering
  readonly remote: Pick<Offer, 'candidates' | 'nat' | 'can'>
  readonly purpose?: Purpose
  /** Accepter: how long until it turns to full TTL when it has heard nothing, in ms. */
  readonly patience: number
  /** When the peer can be expected to punch as well, in ms. */
  readonly base: number
  /** How long the punch may take, in ms. */
  readonly timeout: number
  readonly news: PeerNews
  /** What the peer was told of this side's NAT, and what tells it what is known by now. */
  readonly told: NatHint
  readonly inform: () => void
  /** Is called when the first authentic datagram of the peer has come. */
  readonly onHeard?: () => void
  readonly signal: AbortSignal
}

/**
 * Punches, and makes a passage of the path that both sides agreed on. The passage's port is the one of the gathering, or
 * another one that was opened on the way: then that of the gathering is closed.
 * @throws PlexusError PUNCH_TIMEOUT, PEER_ABORTED, NO_PATH, UDP_BLOCKED or STUN_UNREACHABLE (the likely causes of a
 *   punch that failed), or the signal's reason
 */
export async function pass(context: PairingContext, options: PassingOptions): Promise<Passage> {
  const { clock, log, random, hops, search } = context
  const { role, session, peer, fingerprint, keys, gathering, patience, base, timeout, news, purpose } =
    options
  const name = formatIdentity(peer)
  const network = reflexiveOf(gathering, 4)?.address
  const prospects = () => ({
    own: ownProspect(context, gathering, name),
    peer: peerProspect(news.bring(options.remote)),
  })
  const remote = probeable(gathering, prospects().peer.candidates)
  const shown = remote.map(({ kind, endpoint }) => `${kind} ${formatEndpoint(endpoint)}`).join(', ')
  log.info({}, `session keys agreed by ${AGREEMENTS[keys.agreement]}`)
  log.info({}, `punching towards ${shown || 'the first endpoint that is heard'}`)
  if (search?.allows(name) === false) log.info({}, 'no port search: too many recent ones failed')
  const started = clock.now()
  const story = new CandidateStory()
  /** Where ports were searched for. */
  const searched = new Set<string>()
  // the punch ends by itself: this only lets a reason end it sooner
  const limit = deadline(clock, timeout + 2 * base + 60_000, options.signal)
  const { signal } = limit
  const attempt = punch(gathering.port, {
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
    ...(context.governor ? { allowance: context.governor.allowance(name) } : {}),
    prospects: { ...prospects(), base, failures: 0, ...search?.memory?.recall(name, network) },
    openSocket: () => openFurther(context, name),
    ...(search ? { enterSearch: (over: AbortSignal) => search.gate.enter(over) } : {}),
    onEvent: (event, ms) => {
      const before = story.heard
      story.note(event, ms)
      if (!before && story.heard) options.onHeard?.()
      if (event.name === 'attempt' && isSearch(event.attempt)) searched.add(addressOf(event.attempt))
    },
  })
  let { filtering: told } = options.told
  const reconsider = () => {
    const known = prospects()
    attempt.reconsider(known)
    // whom this side's NAT lets in is news to a symmetric peer alone
    const { filtering } = known.own.nat
    if (filtering === told || !isSymmetric(known.peer.nat)) return
    told = filtering
    options.inform()
  }
  news.connect((candidates) => {
    attempt.addCandidates(probeable(gathering, candidates))
    reconsider()
  })
  const stopHearing = gathering.onNat(reconsider)
  reconsider()
  const stopWatching = giveUpEarly(clock, {
    gathering,
    base,
    heard: () => story.heard,
    prospects,
    give: limit.abort,
  })
  const settled = () => {
    stopHearing()
    stopWatching()
    limit.dispose()
    gathering.settle()
    const candidates = story.records()
    for (const record of candidates) log.debug({}, `candidate ${formatRecord(record)}`)
    const { own, peer } = prospects()
    const mapping = { own: own.nat.mapping, peer: peer.nat.mapping }
    publish('plexus:pairing', context, () => ({ name: 'punched', candidates, mapping }))
    if (searched.size > 0) search?.ended(name, story.found(searched))
  }
  const result = await attempt.result.catch((thrown: unknown) => {
    settled()
    const error = afterwards(asPlexusError(thrown), gathering, prospects())
    if (error !== thrown) log.info({}, asPlexusError(thrown).message)
    if (!story.heard && !options.signal.aborted) search?.memory?.remember(name, network, 'failed')
    throw error
  })
  settled()
  search?.memory?.remember(name, network, result.strategy)
  try {
    if (result.port !== gathering.port) await gathering.close()
    // the accepter goes on acknowledging for a moment before it hands over: its command is to start first
    if (role === 'inviter' && result.acknowledged) await sleep(clock, HEAD_START, options.signal)
    const ends = await endsOf(gathering, result)
    const { peer: faraway, kind, rtt, port } = result
    publish('plexus:path', context, () => {
      const { inner, outer } = ends
      const took = clock.now() - started
      return { name: 'open', session, peer: name, inner, outer, faraway, kind, rtt, took }
    })
    const { app, host } = context
    const what = {
      role,
      ...(purpose ? { purpose } : {}),
      app,
      session,
      host: host.name,
      peer,
      fingerprint,
      keys,
    }
    return { ...what, ...ends, faraway, kind, rtt, port }
  } catch (thrown) {
    if (result.port !== gathering.port) await result.port.close()
    throw thrown
  }
}

/** This side's ends of a path, inside and outside, and the port mapping that it goes through. */
async function endsOf(
  gathering: Gathering,
  { port, kind, socket, outer: observed, peer }: Punched,
): Promise<Pick<Passage, 'inner' | 'outer' | 'portMapping'>> {
  const inner = await innerEndpoint(port, peer)
  const portMapping = mappingOf(gathering, observed)
  const reflexive = kind === 'host' ? undefined : reflexiveOf(gathering, familyOf(peer))
  // STUN saw the outside of the first socket, and behind a symmetric NAT that of another destination
  const same = socket === 0 && !isSymmetric(gathering.nat)
  const seen = same || kind === 'host' ? reflexive : (observed ?? reflexive)
  const outer = portMapping?.external ?? seen ?? inner
  return { inner, outer, ...(portMapping ? { portMapping } : {}) }
}

/** The port mapping, if the peer sends to it, or if nobody knows where it sends to; else it is given back. */
function mappingOf({ portMapping }: Gathering, outer: Endpoint | undefined): PortMapping | undefined {
  const external = portMapping?.external
  if (external && (outer === undefined || sameEndpoint(outer, external))) return portMapping
  void portMapping?.release()
  return undefined
}
