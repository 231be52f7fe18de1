import { asPlexusError, PlexusError } from '../errors/index.js'
import { formatIdentity, type Host, type IdentityName } from '../identity/index.js'
import { deadline, sleep } from '../net/index.js'
import type { SeenSessions } from '../sealing/index.js'
import { publish } from '../watch/index.js'
import { answer, inviterOf } from './answering.js'
import { Complaints } from './complaints.js'
import { FRESHNESS, type PairingContext, shortSession, stretchedTimeout } from './context.js'
import { Correspondence, type Opened, type Sealed, sessionMailbox } from './correspondence.js'
import { FAREWELL, peerFailure, sayFarewell } from './farewell.js'
import { glareMailbox, ownCertificates } from './glare.js'
import type { Invite, Message, Refusal, RefusalCode } from './message.js'
import {
  type Carry,
  type Dialogue,
  type NegotiationOptions,
  Negotiations,
  type Refused,
  type Session,
} from './negotiations.js'
import { Overtaking } from './overtaking.js'
import type { Passage } from './passage.js'
import { PeerNews } from './peer-news.js'
import { Rate } from './rate.js'
import { Reception, type Use } from './reception.js'

/** How many refusals one peer is sent in `REFUSAL_WINDOW` ms: enough to be told, too few to be used as a lever. */
const MAX_REFUSALS = 6
const REFUSAL_WINDOW = 60_000

/**
 * How much of one peer is listened to in a minute, of whatever kind: so many messages, of which an invite counts as two, as
 * it costs signatures. More than one machine pairs in a row.
 */
const MAX_MESSAGES = 240
const MESSAGE_WINDOW = 60_000
const INVITE_COST = 2

/** When an accepter that waits loads what its sessions will need, in ms: its start is over by then. */
const PREPARE_AFTER = 1000

export interface AccepterOptions extends NegotiationOptions {
  /** Only these peers; without it everyone who has a directory in the repository. */
  readonly peers?: readonly IdentityName[]
  readonly seen: SeenSessions
  /** Hears of each peer that invites, once it has proven who it is; may say why it is not spoken with like this. */
  readonly speaks?: (peer: IdentityName) => Promise<string | undefined>
  /**
   * Takes over the passage and its port.
   * @param giveUp tells the inviter, through the rendezvous, that nothing will come of the passage after all
   */
  readonly onPassage: (passage: Passage, giveUp: GiveUp) => void
  /** Takes over the passage of a ping, and its port. Without it pings are refused. */
  readonly onPing?: (passage: Passage) => void
}

/** Says why nothing comes of a passage, as far as its inviter can be reached. Never rejects. */
export type GiveUp = (error: PlexusError) => Promise<void>

/** Waits for invites for ever, judges them, and carries each that is good through to a passage. */
export class Accepter {
  #context: PairingContext
  #mail: Correspondence
  readonly #options: AccepterOptions
  readonly #reception: Reception
  readonly #negotiations: Negotiations
  readonly #overtaking = new Overtaking()
  readonly #complaints: Complaints
  readonly #messages: Rate
  readonly #refusals: Rate
  /** The invites that are being judged, one after the other for each peer and kind. */
  readonly #judging = new Map<string, Promise<void>>()

  constructor(context: PairingContext, options: AccepterOptions) {
    const { clock } = context
    this.#context = context
    this.#options = options
    this.#mail = new Correspondence(context)
    this.#complaints = new Complaints(clock)
    this.#negotiations = new Negotiations(clock, options, this.#complaints)
    this.#messages = new Rate(clock, MAX_MESSAGES, MESSAGE_WINDOW)
    this.#refusals = new Rate(clock, MAX_REFUSALS, REFUSAL_WINDOW)
    this.#reception = new Reception(context)
  }

  /**
   * From now on this is the identity of this side: its certificates and keys have changed. Sessions under way go on as they
   * began.
   */
  adopt(host: Host): void {
    this.#context = { ...this.#context, host }
    this.#mail = new Correspondence(this.#context)
    this.#reception.adopt(host)
  }

  /** Receives until the signal aborts; then ends what is under way and resolves. */
  async run(signal: AbortSignal): Promise<void> {
    void this.#prepare(signal)
    try {
      await this.#reception.run(signal, (sealed) => this.#take(sealed))
    } finally {
      const reason = signal.reason ?? new PlexusError('CANCELLED', 'The accepter is stopping.')
      void this.#negotiations.end(asPlexusError(reason, 'CANCELLED'))
      await Promise.all(this.#judging.values())
      await this.#negotiations.end(asPlexusError(reason, 'CANCELLED'))
    }
  }

  /** Loads what the first session would else wait for, and what a later update of the program may take away. */
  async #prepare(signal: AbortSignal): Promise<void> {
    const { clock, kem, log } = this.#context
    try {
      await sleep(clock, PREPARE_AFTER, signal)
      await kem?.load()
    } catch (thrown) {
      if (!signal.aborted) log.debug({ err: thrown }, 'ML-KEM-768 could not be loaded')
    }
  }

  /** Opens a message and sets going what it asks for. */
  async #take(sealed: Uint8Array): Promise<Use> {
    let opened: Opened
    try {
      opened = await this.#mail.open(sealed, (claim) => this.#isExcess(claim))
      if (!this.#welcome(opened.message.from)) throw unwelcome(opened.message)
    } catch (thrown) {
      const error = asPlexusError(thrown)
      if (error.code === 'BUSY') return 'excess'
      this.#complaints.ofStranger(this.#context.log, error)
      return 'wasted'
    }
    return this.#judge(opened)
  }

  /**
   * Whether a message of this peer is still listened to: counted before anything else is done for it, whatever it says
   * and in whatever language.
   */
  listensTo(peer: IdentityName, kind: Message['kind']): boolean {
    const name = formatIdentity(peer)
    if (this.#messages.allows(name, costOf(kind))) return true
    this.#tooMuch(name)
    return false
  }

  /**
   * Whether a message, if it is from whom it claims, would be dropped without a word: then its signature need not be
   * looked at. Only what the identity itself has said brings that about, so nobody can have another one dropped.
   */
  #isExcess({ from, kind }: Message): boolean {
    const name = formatIdentity(from)
    if (this.#messages.wait(name, costOf(kind)) === 0) return false
    if (kind === 'invite' && this.#refusals.wait(name) === 0) return false // it is still told BUSY
    this.#tooMuch(name)
    return true
  }

  #tooMuch(name: string): void {
    const sentence = `${name} sends too much: dropping messages above ${MAX_MESSAGES} a minute.`
    this.#complaints.ofExcess(this.#context.log, name, sentence)
  }

  #judge(opened: Opened): Use {
    const { message } = opened
    const peer = formatIdentity(message.from)
    if (!this.listensTo(message.from, message.kind)) {
      if (message.kind === 'invite') void this.#refuse({ ...opened, message }, 'BUSY', TOO_MUCH)
      return 'wasted'
    }
    const session = this.#negotiations.get(message.session)
    if (session && session.peer !== peer) return this.#drop(message, replayed(message))
    switch (message.kind) {
      case 'invite':
        this.#inTurn({ ...opened, message })
        break
      case 'update':
        if (session) session.dialogue?.news.update(message.candidates, message.nat)
        else this.#overtaking.note(peer, message.session, { is: 'updated', news: message })
        break
      case 'abort':
        if (session) session.controller.abort(peerFailure(peer, message))
        else this.#overtaking.note(peer, message.session, { is: 'withdrawn' })
        break
      case 'answer':
      case 'refusal': {
        const what = `A message from ${peer} was dropped: an accepter does not expect ${message.kind}.`
        return this.#drop(message, new PlexusError('MALFORMED', what))
      }
    }
    return 'used'
  }

  #drop(message: Message, error: PlexusError): Use {
    const log = this.#context.log.child({ session: shortSession(message.session) })
    this.#complaints.ofPeer(log, formatIdentity(message.from), error)
    return 'wasted'
  }

  /** Invites of one peer are judged one after the other, and hold up nobody else's. */
  #inTurn(opened: Opened<Invite>): void {
    const { message } = opened
    const key = `${message.purpose ?? 'pairing'} ${formatIdentity(message.from)}`
    const arrived = this.#context.clock.now()
    const turn = (this.#judging.get(key) ?? Promise.resolve())
      .then(() => this.#invited(opened, arrived))
      .catch((thrown: unknown) => void this.#drop(message, asPlexusError(thrown)))
      .finally(() => {
        if (this.#judging.get(key) === turn) this.#judging.delete(key)
      })
    this.#judging.set(key, turn)
  }

  #welcome(peer: IdentityName): boolean {
    const { peers } = this.#options
    return peers === undefined || peers.some((allowed) => formatIdentity(allowed) === formatIdentity(peer))
  }

  async #invited(opened: Opened<Invite>, arrived: number): Promise<void> {
    const { message } = opened
    const known = this.#negotiations.get(message.session)
    if (known) return this.#again(opened, known)
    if (this.#options.seen.has(Buffer.from(message.session, 'hex'))) throw replayed(message)
    const { app, log } = this.#context
    const peer = formatIdentity(message.from)
    if (this.#overtaking.withdrawn(peer, message.session)) {
      await this.#remember(message)
      return log.debug({ session: shortSession(message.session) }, `${peer} gave up before its invite came`)
    }
    if (message.app !== app) {
      return this.#refuse(opened, 'APPLICATION', `This accepter serves '${app}', not '${message.app}'.`)
    }
    const stale = this.#stale(message)
    if (stale) return this.#refuse(opened, 'CLOCK', stale)
    await this.#remember(message)
    if (message.purpose === 'ping' && !this.#options.onPing) {
      return this.#refuse(opened, 'REFUSED', 'This accepter does not answer pings.')
    }
    const unspoken = await this.#options.speaks?.(message.from)
    if (unspoken !== undefined) return this.#refuse(opened, 'REFUSED', unspoken)
    const asked = { session: message.session, peer: message.from, purpose: message.purpose, arrived }
    const refusal = await this.#negotiations.admit(asked, this.#latency)
    if (refusal) return this.#refuse(opened, refusal.code, refusal.sentence)
    const { session, purpose } = message
    publish('plexus:pairing', this.#context, () => ({ name: 'invited', session, peer, purpose }))
    this.#start(opened)
  }

  /**
   * Begins a session that was asked for in another dialect, within the bounds that hold for all of them, and hears of
   * it when it has failed. A session that a newer one displaces, or the end of the accepter, is aborted.
   * @param session an id of its own
   * @param carry carries it through, and hands the passage over; what it throws was its failure. It calls `heard` when
   *   something of the peer has come
   * @returns why it was not begun
   */
  async begin(peer: IdentityName, session: string, carry: Carry): Promise<Refused | undefined> {
    const arrived = this.#context.clock.now()
    const asked = { session, peer, purpose: undefined, arrived }
    const refusal = await this.#negotiations.admit(asked, this.#latency)
    if (!refusal) this.#negotiations.enter(asked, this.#context, undefined, carry)
    return refusal
  }

  /** Of the rendezvous, in ms: before that nothing can be heard of a peer. */
  get #latency(): number {
    const { rendezvous } = this.#context
    return rendezvous.returning ?? rendezvous.latency
  }

  /** The same invite once more: its answer may have been lost on the way. */
  async #again(opened: Opened<Invite>, { dialogue, controller }: Session): Promise<void> {
    const { message } = opened
    if (!dialogue || !opened.content.equals(dialogue.invite.content)) throw replayed(message)
    const { answer: made } = dialogue
    if (!made || dialogue.posting === 'again') return
    dialogue.posting = 'again'
    const mailbox = sessionMailbox(this.#context.app, message.from, message.reply)
    const header = this.#mail.header(message.from, message.session)
    this.#mail
      .post(mailbox, made.sealed, header, controller.signal)
      .catch((thrown: unknown) => {
        const short = shortSession(message.session)
        this.#context.log.debug({ err: thrown, session: short }, 'the answer could not be posted again')
      })
      .finally(() => {
        dialogue.posting = 'once'
      })
  }

  #start(invite: Opened<Invite>): void {
    const { from, session, purpose } = invite.message
    const news = new PeerNews()
    const said = this.#overtaking.take(formatIdentity(from), session)
    if (said?.is === 'updated') news.update(said.news.candidates, said.news.nat)
    const dialogue: Dialogue = { invite, news, answer: undefined, posting: 'once' }
    const onAnswer = (made: Sealed) => {
      dialogue.answer = made
    }
    const { app, host, rendezvous } = this.#context
    // answered here: what the inviter leaves for a peer that invites it at the same time is read by nobody
    for (const own of ownCertificates(host))
      rendezvous.spent?.(glareMailbox(app, host.name, own, invite.certificate))
    const context = { ...this.#context, host: invite.host }
    const asked = { session, peer: from, purpose, arrived: 0 }
    this.#negotiations.enter(asked, context, dialogue, async (inner, signal, onHeard) => {
      const passage = await answer(inner, invite, { news, signal, onAnswer, onHeard })
      if (purpose === 'ping') this.#options.onPing?.(passage)
      else this.#options.onPassage(passage, (error) => this.#giveUp(invite, error))
    })
    if (said?.is === 'withdrawn') {
      const why = new PlexusError('PEER_ABORTED', 'The peer gave up before it was answered.')
      this.#negotiations.get(session)?.controller.abort(why)
    }
  }

  #giveUp(invite: Opened<Invite>, error: PlexusError): Promise<void> {
    const log = this.#context.log.child({ session: shortSession(invite.message.session) })
    const { host } = invite
    return sayFarewell({ ...this.#context, host, log }, inviterOf(this.#context.app, invite), error)
  }

  /** Why a message is not of now, in words for its sender; undefined if it is. */
  #stale(message: Message): string | undefined {
    const now = this.#context.clock.date()
    const off = now - message.time
    if (Math.abs(off) > FRESHNESS) {
      const minutes = Math.round(Math.abs(off) / 60_000)
      return `The clocks differ by ${minutes} minutes: yours is ${off > 0 ? 'behind' : 'ahead'}, or the message is old.`
    }
    if (message.expires <= now) return 'The message has expired.'
    return undefined
  }

  /** From now on this session is known: nothing under its id is begun again, before or after a restart. */
  async #remember(message: Message): Promise<void> {
    const latest = message.time + FRESHNESS + stretchedTimeout(this.#context)
    await this.#options.seen.add(Buffer.from(message.session, 'hex'), latest)
  }

  /** Tells a sender who has proven who it is why it is not answered. */
  async #refuse(invite: Opened<Invite>, code: RefusalCode, sentence: string): Promise<void> {
    const { message, certificate, host } = invite
    const { clock, log, app } = this.#context
    const peer = formatIdentity(message.from)
    const { session } = message
    // of too many messages there has been a word already
    const loudness = sentence === TOO_MUCH ? 'none' : this.#complaints.loudness(peer)
    publish('plexus:pairing', this.#context, () => {
      return { name: 'refused', session, peer, code, sentence, loudness }
    })
    if (!this.#refusals.allows(peer)) return
    const limit = deadline(clock, FAREWELL)
    const refusal: Refusal = {
      ...this.#mail.header(message.from, message.session),
      kind: 'refusal',
      code,
      sentence,
    }
    const { sealed } = await new Correspondence({ ...this.#context, host }).seal(refusal, certificate)
    this.#mail
      .post(sessionMailbox(app, message.from, message.reply), sealed, refusal, limit.signal)
      .catch((thrown: unknown) => log.debug({ err: thrown, session }, 'the refusal could not be posted'))
      .finally(limit.dispose)
  }
}

const TOO_MUCH = `More than ${MAX_MESSAGES} messages of this identity came within a minute.`

const costOf = (kind: Message['kind']) => (kind === 'invite' ? INVITE_COST : 1)

function unwelcome({ from }: Message): PlexusError {
  const what = `A message from ${formatIdentity(from)} was dropped: this accepter does not accept that peer.`
  return new PlexusError('SENDER_UNKNOWN', what)
}

function replayed(message: Message): PlexusError {
  const from = formatIdentity(message.from)
  return new PlexusError(
    'REPLAYED',
    `A message from ${from} was dropped: session ${shortSession(message.session)} is already known.`,
  )
}
