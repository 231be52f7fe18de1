import { asPlexusError, PlexusError } from '../errors/index.js'
import { formatIdentity, type Host, type IdentityName } from '../identity/index.js'
import { deadline } from '../net/index.js'
import type { SeenSessions } from '../sealing/index.js'
import { answer, inviterOf } from './answering.js'
import { FRESHNESS, type PairingContext, shortSession, stretchedTimeout } from './context.js'
import { Correspondence, type Opened, type Sealed, sessionMailbox } from './correspondence.js'
import { FAREWELL, peerFailure, sayFarewell } from './farewell.js'
import type { Invite, Message, Purpose, Refusal, RefusalCode, Update } from './message.js'
import type { Passage } from './passage.js'
import { PeerNews } from './peer-news.js'
import { Rate } from './rate.js'
import { Reception } from './reception.js'

/** How many dropped messages of one kind are worth a warning in `NOISE_WINDOW` ms; the rest is for whoever debugs. */
const MAX_NOISE = 30
const NOISE_WINDOW = 60_000

/** How many sessions may be negotiated at a time: each holds a port and some work. */
const MAX_SESSIONS = 16

/** How many updates may wait for their invites: over a DHT one message may overtake another by a second. */
const MAX_EARLY = 16

/** How many refusals one peer is sent in `REFUSAL_WINDOW` ms: enough to be told, too few to be used as a lever. */
const MAX_REFUSALS = 6
const REFUSAL_WINDOW = 60_000

/** How many invites of one peer are considered in a minute: more than one machine pairs in a row, each costs signatures. */
export const MAX_INVITES = 120
const INVITE_WINDOW = 60_000

export interface AccepterOptions {
  /** Only these peers; without it everyone who has a directory in the repository. */
  readonly peers?: readonly IdentityName[]
  readonly seen: SeenSessions
  /** Whether a newer invite of a peer ends its session that is still being negotiated. */
  readonly supersede: boolean
  /** May say no before anything is done for the invite; the sentence is told to the peer. */
  readonly admit: (
    peer: IdentityName,
    underway: Underway,
    purpose: Purpose | undefined,
  ) => Promise<Refused | undefined>
  /** Hears of each peer that invites, once it has proven who it is; may say why it is not spoken with like this. */
  readonly speaks?: (peer: IdentityName) => Promise<string | undefined>
  /**
   * Takes over the passage and its port.
   * @param giveUp tells the inviter, through the rendezvous, that nothing will come of the passage after all
   */
  readonly onPassage: (passage: Passage, giveUp: GiveUp) => void
  /** Takes over the passage of a ping, and its port. Without it pings are refused. */
  readonly onPing?: (passage: Passage) => void
  /** Hears of a session that came to nothing after it was begun. */
  readonly onFailure?: (failure: { peer: IdentityName; session: string; error: PlexusError }) => void
}

/** Why a pairing is not begun. */
export interface Refused {
  readonly code: RefusalCode
  readonly sentence: string
}

/** Says why nothing comes of a passage, as far as its inviter can be reached. Never rejects. */
export type GiveUp = (error: PlexusError) => Promise<void>

/** How many sessions are being negotiated just now. */
export interface Underway {
  /** Of this peer, pings not counted. */
  readonly ofPeer: number
  /** Of everybody, pings not counted. */
  readonly pairings: number
  readonly all: number
}

/** A session under way. */
interface Session {
  readonly peer: string
  readonly purpose: Purpose | undefined
  readonly controller: AbortController
  readonly over: Promise<void>
  /** What an invite brought; one that was begun in another dialect has nothing of it. */
  readonly dialogue: Dialogue | undefined
}

interface Dialogue {
  readonly invite: Opened<Invite>
  readonly news: PeerNews
  answer: Sealed | undefined
  /** Whether the answer is being posted once more: one such post at a time is enough. */
  posting: 'once' | 'again'
}

/** Waits for invites for ever, judges them, and carries each that is good through to a passage. */
export class Accepter {
  #context: PairingContext
  #mail: Correspondence
  readonly #options: AccepterOptions
  readonly #reception: Reception
  readonly #sessions = new Map<string, Session>()
  /** Updates that came before their invite, by session. */
  readonly #early = new Map<string, { readonly peer: string; readonly news: Update }>()
  readonly #refusals: Rate
  readonly #invites: Rate
  readonly #noise: Rate
  #life: 'running' | 'ended' = 'running'

  constructor(context: PairingContext, options: AccepterOptions) {
    this.#context = context
    this.#options = options
    this.#mail = new Correspondence(context)
    this.#refusals = new Rate(context.clock, MAX_REFUSALS, REFUSAL_WINDOW)
    this.#invites = new Rate(context.clock, MAX_INVITES, INVITE_WINDOW)
    this.#noise = new Rate(context.clock, MAX_NOISE, NOISE_WINDOW)
    this.#reception = new Reception(context)
  }

  /**
   * From now on this is the own identity: its certificates and keys have changed. Sessions under way go on as they
   * began.
   */
  adopt(host: Host): void {
    this.#context = { ...this.#context, host }
    this.#mail = new Correspondence(this.#context)
    this.#reception.adopt(host)
  }

  /** Receives until the signal aborts; then ends what is under way and resolves. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#context
    try {
      await this.#reception.run(signal, (sealed) =>
        this.#take(sealed, signal).catch((thrown: unknown) => {
          const error = asPlexusError(thrown)
          log[this.#loudness(error)]({ code: error.code }, error.message)
        }),
      )
    } finally {
      this.#life = 'ended'
      const reason = asPlexusError(
        signal.reason ?? new PlexusError('CANCELLED', 'The accepter ends.'),
        'CANCELLED',
      )
      for (const { controller } of this.#sessions.values()) controller.abort(reason)
      await Promise.all([...this.#sessions.values()].map(({ over }) => over))
    }
  }

  async #take(sealed: Uint8Array, signal: AbortSignal): Promise<void> {
    const opened = await this.#mail.open(sealed)
    await this.#judge(opened, signal).catch((thrown: unknown) => {
      const error = asPlexusError(thrown)
      const session = shortSession(opened.message.session)
      this.#context.log[this.#loudness(error)]({ code: error.code, session }, error.message)
    })
  }

  /** What anybody can bring about, as often as it likes, must not fill the log. */
  #loudness({ code }: PlexusError): 'warn' | 'debug' {
    return this.#noise.allows(code) ? 'warn' : 'debug'
  }

  async #judge(opened: Opened, signal: AbortSignal): Promise<void> {
    const { message } = opened
    const peer = formatIdentity(message.from)
    if (!this.#welcome(message.from)) {
      throw new PlexusError(
        'SENDER_UNKNOWN',
        `A message from ${peer} was dropped: this accepter is not for it.`,
      )
    }
    const session = this.#sessions.get(message.session)
    if (session && session.peer !== peer) throw replayed(message)
    switch (message.kind) {
      case 'invite':
        await this.#invited({ ...opened, message }, session, signal)
        break
      case 'update':
        this.#updated(message, session)
        break
      case 'abort':
        if (session) session.controller.abort(peerFailure(peer, message))
        else if (message.app === this.#context.app && this.#stale(message) === undefined)
          await this.#remember(message)
        break
      case 'answer':
      case 'refusal':
        throw new PlexusError(
          'MALFORMED',
          `A message from ${peer} was dropped: an accepter expects no ${message.kind}.`,
        )
    }
  }

  /** What a side has found out since its invite; it may overtake that. */
  #updated(update: Update, session: Session | undefined): void {
    const { from, session: id, candidates, nat } = update
    if (session) {
      session.dialogue?.news.update(candidates, nat)
      return
    }
    this.#early.set(id, { peer: formatIdentity(from), news: update })
    for (const oldest of this.#early.keys()) {
      if (this.#early.size <= MAX_EARLY) break
      this.#early.delete(oldest)
    }
  }

  #welcome(peer: IdentityName): boolean {
    const { peers } = this.#options
    return peers === undefined || peers.some((allowed) => formatIdentity(allowed) === formatIdentity(peer))
  }

  async #invited(opened: Opened<Invite>, known: Session | undefined, signal: AbortSignal): Promise<void> {
    const { message } = opened
    if (known) return this.#again(opened, known)
    if (this.#options.seen.has(Buffer.from(message.session, 'hex'))) throw replayed(message)
    const { app, log } = this.#context
    const peer = formatIdentity(message.from)
    if (message.app !== app) {
      return this.#refuse(opened, 'APPLICATION', `This accepter serves '${app}', not '${message.app}'.`)
    }
    const stale = this.#stale(message)
    if (stale) return this.#refuse(opened, 'CLOCK', stale)
    if (!this.#invites.allows(peer)) {
      return this.#refuse(opened, 'BUSY', `${MAX_INVITES} invites of this identity came within a minute.`)
    }
    await this.#remember(message)
    if (message.purpose === 'ping' && !this.#options.onPing) {
      return this.#refuse(opened, 'REFUSED', 'This accepter answers no pings.')
    }
    const unspoken = await this.#options.speaks?.(message.from)
    if (unspoken !== undefined) return this.#refuse(opened, 'REFUSED', unspoken)
    const refusal = await this.#admit(message.from, message.purpose)
    if (refusal) return this.#refuse(opened, refusal.code, refusal.sentence)
    const how = message.purpose === 'ping' ? 'pinged' : 'invited'
    log.info({ session: shortSession(message.session) }, `${how} by ${peer}`)
    if (!signal.aborted) this.#start(opened)
  }

  /** Whether there is room for one more, of this peer too. */
  async #admit(peer: IdentityName, purpose: Purpose | undefined): Promise<Refused | undefined> {
    if (this.#sessions.size >= MAX_SESSIONS) {
      return { code: 'BUSY', sentence: `${MAX_SESSIONS} pairings are under way already.` }
    }
    if (this.#options.supersede) await this.#supersede(peer, purpose)
    return await this.#options.admit(peer, this.#underway(formatIdentity(peer)), purpose)
  }

  /**
   * Begins a session that was asked for in another dialect, within the bounds that hold for all of them, and hears of
   * it when it has failed. A session that a newer one supersedes, or the end of the accepter, is aborted.
   * @param session an id of its own
   * @param carry carries it through, and hands the passage over; what it throws was its failure
   * @returns why it was not begun
   */
  async begin(
    peer: IdentityName,
    session: string,
    carry: (context: PairingContext, signal: AbortSignal) => Promise<void>,
  ): Promise<Refused | undefined> {
    const refusal = await this.#admit(peer, undefined)
    if (refusal) return refusal
    if (this.#life === 'ended') return { code: 'BUSY', sentence: 'This accepter ends.' }
    this.#enter(session, peer, undefined, undefined, this.#context, carry)
    return undefined
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

  #underway(peer: string): Underway {
    const sessions = [...this.#sessions.values()]
    const pairings = sessions.filter((one) => one.purpose === undefined)
    const ofPeer = pairings.filter((one) => one.peer === peer)
    return { ofPeer: ofPeer.length, pairings: pairings.length, all: sessions.length }
  }

  /** One identity has one pairing under way, and one ping: the newest. */
  async #supersede(name: IdentityName, purpose: Purpose | undefined): Promise<void> {
    const peer = formatIdentity(name)
    for (const session of [...this.#sessions.values()]) {
      if (session.peer !== peer || session.purpose !== purpose) continue
      session.controller.abort(new PlexusError('BUSY', 'A newer invite of the same identity came in.'))
      await session.over
    }
  }

  #start(invite: Opened<Invite>): void {
    const { from, session, purpose } = invite.message
    const news = new PeerNews()
    const early = this.#early.get(session)
    this.#early.delete(session)
    if (early?.peer === formatIdentity(from)) news.update(early.news.candidates, early.news.nat)
    const dialogue: Dialogue = { invite, news, answer: undefined, posting: 'once' }
    const onAnswer = (made: Sealed) => {
      dialogue.answer = made
    }
    const context = { ...this.#context, host: invite.host }
    this.#enter(session, from, purpose, dialogue, context, async (inner, signal) => {
      const passage = await answer(inner, invite, { news, signal, onAnswer })
      if (passage.purpose === 'ping') this.#options.onPing?.(passage)
      else this.#options.onPassage(passage, (error) => this.#giveUp(invite, error))
    })
  }

  #enter(
    session: string,
    peer: IdentityName,
    purpose: Purpose | undefined,
    dialogue: Dialogue | undefined,
    outer: PairingContext,
    carry: (context: PairingContext, signal: AbortSignal) => Promise<void>,
  ): void {
    const log = outer.log.child({ session: shortSession(session) })
    const controller = new AbortController()
    const over = carry({ ...outer, log }, controller.signal)
      .catch((thrown: unknown) => {
        const error = asPlexusError(thrown)
        log.warn({ code: error.code }, `the pairing failed: ${error.message}`)
        this.#options.onFailure?.({ peer, session, error })
      })
      .finally(() => this.#sessions.delete(session))
    this.#sessions.set(session, { peer: formatIdentity(peer), purpose, controller, over, dialogue })
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
    const session = shortSession(message.session)
    log.warn({ code, session }, `${peer} was refused: ${sentence}`)
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

function replayed(message: Message): PlexusError {
  const from = formatIdentity(message.from)
  return new PlexusError(
    'REPLAYED',
    `A message from ${from} was dropped: session ${shortSession(message.session)} is known.`,
  )
}
