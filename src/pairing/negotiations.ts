import { asPlexusError, PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { broadController, type Clock, sleep } from '../net/index.js'
import { publish } from '../watch/index.js'
import { Admission, type Kind, ROOM, type Room, type Underway, type Verdict } from './admission.js'
import type { Complaints } from './complaints.js'
import { type PairingContext, shortSession } from './context.js'
import type { Opened, Sealed } from './correspondence.js'
import type { Invite, Purpose, RefusalCode } from './message.js'
import type { PeerNews } from './peer-news.js'

/** How long an invite waits for a place before it is told BUSY, in ms: most sessions take one second. */
const PATIENCE = 3000

/** How many wait for a place at most; of one identity it is one of each kind. */
const MAX_WAITING = 256

export interface NegotiationOptions {
  /** Whether a newer invite of a peer ends its session that is still being negotiated. */
  readonly supersede: boolean
  /** May say no before anything is done for the invite; the sentence is told to the peer. */
  readonly admit: (
    peer: IdentityName,
    underway: Underway,
    purpose: Purpose | undefined,
  ) => Promise<Refused | undefined>
  /** How many sessions there is room for just now, where that is less than an accepter negotiates at most. */
  readonly room?: () => Room
  /** Hears of a session that came to nothing after it was begun. */
  readonly onFailure?: (failure: { peer: IdentityName; session: string; error: PlexusError }) => void
}

/** Why a pairing is not begun. */
export interface Refused {
  readonly code: RefusalCode
  readonly sentence: string
}

/** A session that is asked for. */
export interface Asked {
  /** 16 bytes in hex. */
  readonly session: string
  readonly peer: IdentityName
  readonly purpose: Purpose | undefined
  /** When it was asked for, in ms. */
  readonly arrived: number
}

/** Carries a session through, and hands its passage over. Calls `heard` when something of the peer has come. */
export type Carry = (context: PairingContext, signal: AbortSignal, heard: () => void) => Promise<void>

/** A session under way. */
export interface Session {
  readonly peer: string
  readonly controller: AbortController
  readonly over: Promise<void>
  /** What an invite brought; one that was begun in another dialect has nothing of it. */
  readonly dialogue: Dialogue | undefined
}

export interface Dialogue {
  readonly invite: Opened<Invite>
  readonly news: PeerNews
  answer: Sealed | undefined
  /** Whether the answer is being posted once more: one such post at a time is enough. */
  posting: 'once' | 'again'
}

/** The sessions of an accepter that are being negotiated, within the bounds of its admission. */
export class Negotiations {
  readonly #clock: Clock
  readonly #options: NegotiationOptions
  readonly #complaints: Complaints
  readonly #admission = new Admission()
  readonly #sessions = new Map<string, Session>()
  /** Are called when a session has ended. */
  readonly #waiting = new Set<() => void>()
  /** Why no session begins any more. */
  #ended: PlexusError | undefined

  constructor(clock: Clock, options: NegotiationOptions, complaints: Complaints) {
    this.#clock = clock
    this.#options = options
    this.#complaints = complaints
  }

  get(session: string): Session | undefined {
    return this.#sessions.get(session)
  }

  /**
   * Finds a place for a session, which may end others, and asks whether it may begin. A session that is admitted has to
   * be entered at once.
   * @param latency of the rendezvous, in ms
   */
  async admit({ session, peer, purpose, arrived }: Asked, latency: number): Promise<Refused | undefined> {
    const name = formatIdentity(peer)
    const verdict = await this.#place(name, session, purpose ?? 'pairing', latency, arrived)
    if (verdict.is === 'refused') return { code: 'BUSY', sentence: verdict.sentence }
    let begun = false
    try {
      const refusal = await this.#options.admit(peer, this.#admission.underway(name, session), purpose)
      if (refusal) return refusal
      if (this.#ended) return { code: 'BUSY', sentence: 'This accepter is stopping.' }
      begun = true
    } finally {
      if (begun) this.#admission.confirm(session)
      else this.#admission.leave(this.#clock.now(), session, 'not begun')
    }
    await Promise.all(verdict.displaced.map((id) => this.#displace(id, name)))
    return undefined
  }

  /** A place, for which a peer waits a while: several may begin at once, and a crowd is served in the order in which it came. */
  async #place(
    peer: string,
    session: string,
    kind: Kind,
    latency: number,
    arrived: number,
  ): Promise<Verdict> {
    const request = { session, peer, kind, latency, supersede: this.#options.supersede }
    for (;;) {
      const now = this.#clock.now()
      const verdict = this.#admission.request(now, request, this.#options.room?.() ?? ROOM)
      const left = arrived + PATIENCE - now
      if (verdict.is === 'admitted' || verdict.by === 'room' || left <= 0 || this.#ended) return verdict
      if (this.#waiting.size >= MAX_WAITING) return verdict
      await this.#change(left)
    }
  }

  /** Resolves when a session has ended, or after `ms`. */
  async #change(ms: number): Promise<void> {
    const changed = new AbortController()
    const wake = () => changed.abort()
    this.#waiting.add(wake)
    await sleep(this.#clock, ms, changed.signal).catch(() => {})
    this.#waiting.delete(wake)
  }

  /** Ends a session whose place another has now. */
  async #displace(id: string, by: string): Promise<void> {
    const session = this.#sessions.get(id)
    const why =
      session?.peer === by && this.#options.supersede
        ? 'Replaced by a newer invite of the same identity.'
        : 'It took too long, and another invite needed its place.'
    session?.controller.abort(new PlexusError('BUSY', why))
    await session?.over
  }

  /** Begins a session that was admitted. */
  enter({ session, peer }: Asked, outer: PairingContext, dialogue: Dialogue | undefined, carry: Carry): void {
    const context = { ...outer, log: outer.log.child({ session: shortSession(session) }) }
    const controller = broadController()
    if (this.#ended) controller.abort(this.#ended)
    const name = formatIdentity(peer)
    const heard = () => this.#admission.heard(this.#clock.now(), session)
    const over = carry(context, controller.signal, heard)
      .then(() => 'paired' as const)
      .catch((thrown: unknown) => {
        const error = asPlexusError(thrown)
        const loudness = this.#complaints.loudness(name)
        publish('plexus:pairing', context, () => ({ name: 'failed', session, peer: name, error, loudness }))
        this.#options.onFailure?.({ peer, session, error })
        return 'failed' as const
      })
      .then((how) => {
        this.#sessions.delete(session)
        this.#admission.leave(this.#clock.now(), session, how)
        for (const wake of this.#waiting) wake()
      })
    this.#sessions.set(session, { peer: name, controller, over, dialogue })
  }

  /** Ends them all, and lets none begin. Resolves when they are over. */
  async end(reason: PlexusError): Promise<void> {
    this.#ended = reason
    for (const { controller } of this.#sessions.values()) controller.abort(reason)
    for (const wake of this.#waiting) wake()
    while (this.#sessions.size > 0) await Promise.all([...this.#sessions.values()].map(({ over }) => over))
  }
}
