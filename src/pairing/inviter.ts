import { isDeepStrictEqual } from 'node:util'
import type { Mailbox } from '../../rendezvous/interface.js'
import { asPlexusError, PlexusError } from '../errors/index.js'
import { type Certificate, expiryNotice, formatIdentity, type IdentityName } from '../identity/index.js'
import { broadController, deadline, type Logger, sleep } from '../net/index.js'
import { isSymmetric } from '../punch/index.js'
import { publish } from '../watch/index.js'
import { drawShare, type InviterShare } from './agreement.js'
import { type PairingContext, shortSession, stretchedTimeout } from './context.js'
import { Correspondence, type Mailing, type Opened, sessionMailbox } from './correspondence.js'
import { isFromPeer, peerFailure, sayFarewell } from './farewell.js'
import { type Gathering, gather, keepMapped, onMapped, onSymmetric } from './gathering.js'
import { Glare } from './glare.js'
import type { Answer, Invite, Purpose, Update } from './message.js'
import { ofOneself, refuseOneself } from './oneself.js'
import type { Passage } from './passage.js'
import { pass } from './passing.js'
import { PeerNews } from './peer-news.js'
import { abilities } from './prospects.js'
import { blocked } from './reachability.js'

/** How long a rendezvous over UDP may take for the invite where no STUN server has answered, in ms. */
const BLOCKED_AFTER = 6000

/** How long the failed posting may take to say why, once the time is up, in ms. */
const LAST_WORDS = 500

export interface InviteOptions {
  /** Ends the attempt. */
  readonly signal: AbortSignal
  readonly purpose?: Purpose
  /**
   * While it has not aborted, the log hears of a peer that gives up after the passage: its command may fail to start.
   * Without it nobody listens any more once there is a passage.
   */
  readonly afterwards?: AbortSignal
}

/**
 * Invites a peer once: gather, post the invite, wait for the answer, punch. If the peer is inviting us at the same
 * time, the lower session id stays the inviter, and the other side answers it.
 * The caller owns the passage's port; on failure everything is closed and the peer is told.
 * @throws PlexusError BAD_FLAG for a ping of this side's identity, PEER_SILENT, BUSY, CLOCK, REFUSED, PEER_COMMAND, NO_PATH, PEER_ABORTED, PUNCH_TIMEOUT, RENDEZVOUS_UNREACHABLE …, or
 *   the signal's reason
 */
export async function invite(
  outer: PairingContext,
  peer: IdentityName,
  options: InviteOptions,
): Promise<Passage> {
  if (options.purpose === 'ping') refuseOneself(peer, outer.host.name)
  const session = outer.random(16).toString('hex')
  const context = { ...outer, log: outer.log.child({ session: shortSession(session) }) }
  const { clock, log } = context
  const certificates = await new Correspondence(context).certificatesOf(peer)
  const total = stretchedTimeout(context)
  if (total < 2 * context.rendezvous.latency) {
    const needed = Math.ceil((2 * context.rendezvous.latency) / 1000)
    log.warn(
      {},
      `the timeout of ${total / 1000} s is short: ${context.rendezvous.name} needs about ${needed} s`,
    )
  }
  const notice = expiryNotice(context.host.certificate, clock.date())
  if (notice) log.warn({}, `your certificate of ${formatIdentity(context.host.name)} ${notice}`)
  publish('plexus:pairing', context, () => ({
    name: 'inviting',
    peer: formatIdentity(peer),
    app: context.app,
    over: context.rendezvous.name,
  }))
  const limit = deadline(
    clock,
    total,
    options.signal,
    () =>
      new PlexusError(
        'PEER_SILENT',
        `${formatIdentity(peer)} has not answered in ${Math.round(total / 1000)} s.${ofOneself(peer, outer.host.name)}`,
      ),
  )
  try {
    // its requests are on their way first: STUN's answers and the keys take a while side by side
    const gathered = gather(context, limit.signal)
    const drawing = drawShare(context)
    const gathering = await gathered
    publish('plexus:pairing', context, () => ({ name: 'gathered', candidates: gathering.candidates }))
    try {
      const attempt = new Attempt(context, {
        ...options,
        session,
        peer,
        certificates,
        gathering,
        drawing,
        limit: limit.signal,
        log: outer.log,
      })
      return await attempt.run(clock.now() + total)
    } catch (thrown) {
      await gathering.close()
      throw thrown
    }
  } finally {
    limit.dispose()
  }
}

interface AttemptOptions extends Pick<InviteOptions, 'purpose' | 'afterwards'> {
  readonly session: string
  readonly peer: IdentityName
  /** The peer's: two during a rollover. */
  readonly certificates: readonly [Certificate, ...Certificate[]]
  readonly gathering: Gathering
  /** Its own share of the keys; never rejects. */
  readonly drawing: Promise<InviterShare>
  readonly limit: AbortSignal
  /** The log before it names a session: glare gives the session another id. */
  readonly log: Logger
}

/** What the wait for an answer can end with. */
type Turn =
  | { readonly kind: 'answered'; readonly by: Opened<Answer> }
  | { readonly kind: 'glare'; readonly passage: Passage }

class Attempt {
  readonly #context: PairingContext
  readonly #options: AttemptOptions
  readonly #mail: Correspondence
  readonly #news = new PeerNews()
  /** Aborts when the session ends, however it ends. */
  readonly #over = broadController()
  /** Aborts when the invite needs no further posting or ringing. */
  readonly #heard = broadController()
  readonly #reply: Buffer
  /** Whoever pings does not want to be started on, and looks for no glare. */
  readonly #glare: Glare | undefined
  #state: 'inviting' | 'passed' = 'inviting'
  #turn: (turn: Turn) => void = () => {}
  #fail: (error: PlexusError) => void = () => {}

  constructor(context: PairingContext, options: AttemptOptions) {
    this.#context = context
    this.#options = options
    this.#mail = new Correspondence(context)
    this.#reply = context.random(32)
    if (options.purpose !== undefined) return
    this.#glare = new Glare(context, {
      ...options,
      mail: this.#mail,
      signal: this.#heard.signal,
      listen: (mailbox) => void this.#listen(mailbox),
      onPassage: (passage) => this.#turn({ kind: 'glare', passage }),
    })
  }

  async run(until: number): Promise<Passage> {
    const { peer, session, certificates, gathering, drawing, limit, purpose } = this.#options
    const { clock, app, host } = this.#context
    const own = await drawing
    const { can, ...keys } = own.share
    const message: Invite = {
      ...this.#mail.header(peer, session),
      kind: 'invite',
      ...(purpose ? { purpose } : {}),
      reply: this.#reply,
      offer: {
        ...keys,
        candidates: gathering.candidates,
        nat: gathering.nat,
        can: [...abilities(this.#context), ...can],
      },
    }
    let waiting: 'answer' | 'hole' = 'answer'
    const onlimit = () => {
      const reason = asPlexusError(limit.reason, 'CANCELLED')
      // a peer that answered was not silent: the punch ends by a time-out of its own
      if (waiting === 'answer' || reason.code !== 'PEER_SILENT') this.#end(reason)
    }
    const made = await this.#mail.mailing(message, certificates)
    const turn = new Promise<Turn>((resolve, reject) => {
      this.#turn = resolve
      this.#fail = reject
    })
    limit.addEventListener('abort', onlimit, { once: true })
    if (limit.aborted) onlimit()
    let failed: PlexusError | undefined
    const posting = this.#post(message, made)
    void this.#listen(sessionMailbox(app, host.name, this.#reply))
    void this.#glare?.watch(message, made)
    const waitingForHole = new AbortController()
    keepMapped(this.#context, gathering, waitingForHole.signal, (one) => void this.#update([one]))
    onSymmetric(gathering, message.offer.nat, waitingForHole.signal, () => void this.#update([]))
    try {
      const next = await turn
      waiting = 'hole'
      this.#heard.abort(new PlexusError('CANCELLED', 'The invite was answered.'))
      const timeout = Math.max(1, until - clock.now())
      if (next.kind === 'glare') return next.passage
      const { offer } = next.by.message
      // an update that overtook the invite may have come to nobody
      if (isSymmetric(gathering.nat) && !isDeepStrictEqual(gathering.nat, message.offer.nat)) {
        void this.#update([])
      }
      onMapped(gathering, waitingForHole.signal, (one) => void this.#update([one]))
      return await pass(this.#context, {
        role: 'inviter',
        session,
        peer,
        fingerprint: next.by.certificate.fingerprint,
        keys: own.keys(offer, made.content, next.by.content),
        gathering,
        remote: offer,
        ...(purpose ? { purpose } : {}),
        patience: 0,
        base: 0,
        timeout,
        news: this.#news,
        told: message.offer.nat,
        inform: () => void this.#update([]),
        signal: this.#over.signal,
      })
    } catch (thrown) {
      failed = await this.#cause(asPlexusError(thrown), posting)
      throw failed
    } finally {
      limit.removeEventListener('abort', onlimit)
      waitingForHole.abort()
      this.#heard.abort(failed ?? new PlexusError('CANCELLED', 'The session is over.'))
      if (failed) this.#end(failed)
      else this.#linger()
      // where the rendezvous took no invite there is nobody to tell
      const told = failed && (isFromPeer(failed) || failed.code === 'RENDEZVOUS_UNREACHABLE')
      if (failed && !told) void this.#farewell(failed)
    }
  }

  /** The passage stands, but its peer may have something to say yet. */
  #linger(): void {
    const { afterwards } = this.#options
    this.#state = 'passed'
    const over = () => this.#over.abort(new PlexusError('CANCELLED', 'The session is over.'))
    if (afterwards === undefined || afterwards.aborted) over()
    else afterwards.addEventListener('abort', over, { once: true })
  }

  #end(error: PlexusError): void {
    if (this.#state === 'passed') {
      this.#context.log.warn({ code: error.code }, error.message)
      return
    }
    this.#fail(error)
    this.#heard.abort(error)
    this.#over.abort(error)
  }

  /** Posts the invite. What it fails with ends the attempt, unless somebody has answered all the same. */
  async #post(message: Invite, made: Mailing): Promise<PlexusError | undefined> {
    const { clock } = this.#context
    const { peer } = this.#options
    const started = clock.now()
    const stopWaiting = this.#watchUdp()
    try {
      await this.#mail.postToAccepter(peer, made, message, this.#heard.signal)
      publish('plexus:pairing', this.#context, () => ({ name: 'posted', took: clock.now() - started }))
      return undefined
    } catch (thrown) {
      const error = asPlexusError(thrown, 'RENDEZVOUS_UNREACHABLE')
      if (!this.#heard.signal.aborted) this.#end(error)
      return error
    } finally {
      stopWaiting()
    }
  }

  /** Where no STUN server answers and a rendezvous over UDP takes nothing either, nothing will come of waiting. */
  #watchUdp(): () => void {
    const { clock, rendezvous } = this.#context
    const { failure } = this.#options.gathering
    if (!failure || !rendezvous.udp) return () => {}
    return clock.timer(BLOCKED_AFTER, () => this.#end(blocked(failure, `${rendezvous.name} does not answer`)))
  }

  /** When nobody answered, the rendezvous may know a better reason than silence. */
  async #cause(error: PlexusError, posting: Promise<PlexusError | undefined>): Promise<PlexusError> {
    if (error.code !== 'PEER_SILENT') return error
    const over = new AbortController()
    const late = sleep(this.#context.clock, LAST_WORDS, over.signal).catch(() => {})
    const reason = await Promise.race([posting, late])
    over.abort()
    return reason && reason.code !== 'CANCELLED' && reason.code !== 'INTERNAL' ? reason : error
  }

  /** Takes what comes to a mailbox of this session until the session is over. */
  async #listen(mailbox: Mailbox): Promise<void> {
    const { rendezvous, log } = this.#context
    try {
      for await (const sealed of rendezvous.receive(mailbox, { signal: this.#over.signal })) {
        await this.#mail
          .open(sealed)
          .then((opened) => this.#take(opened))
          .catch((thrown: unknown) =>
            log.warn({ code: asPlexusError(thrown).code }, asPlexusError(thrown).message),
          )
      }
    } catch (thrown) {
      if (!this.#over.signal.aborted) this.#end(asPlexusError(thrown, 'RENDEZVOUS_UNREACHABLE'))
    }
  }

  #take(opened: Opened): void {
    const { peer, session } = this.#options
    const { message } = opened
    const name = formatIdentity(peer)
    if (formatIdentity(message.from) !== name) return
    // an accepter that serves another application says so under its own
    if (message.app !== this.#context.app && message.kind !== 'refusal') return
    if (message.kind === 'invite') this.#glare?.take({ ...opened, message })
    if (message.session !== session) return
    switch (message.kind) {
      case 'answer':
        publish('plexus:pairing', this.#context, () => ({ name: 'answered', peer: name }))
        this.#turn({ kind: 'answered', by: { ...opened, message } })
        break
      case 'update':
        this.#news.update(message.candidates, message.nat)
        break
      case 'refusal':
      case 'abort':
        this.#end(peerFailure(name, message))
        break
      case 'invite':
        break // its own session, thrown back at us
    }
  }

  async #update(candidates: Update['candidates']): Promise<void> {
    const { peer, session, certificates } = this.#options
    const { log } = this.#context
    const { nat } = this.#options.gathering
    const update: Update = { ...this.#mail.header(peer, session), kind: 'update', candidates, nat }
    try {
      const made = await this.#mail.mailing(update, certificates)
      await this.#mail.postToAccepter(peer, made, update, this.#over.signal)
    } catch (thrown) {
      if (!this.#over.signal.aborted) log.debug({ err: thrown }, 'the update could not be posted')
    }
  }

  /** Tells the accepter that this side has given up: it may have seen the invite, or may see it yet. */
  #farewell(error: PlexusError): Promise<void> {
    const { peer, session, certificates } = this.#options
    return sayFarewell(this.#context, { peer, certificates, session }, error)
  }
}
