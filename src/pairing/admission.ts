/** How many sessions may be negotiated at a time, pings apart: each holds a port and some work. */
export const MAX_SESSIONS = 16

/** How many of them may be of one identity: several machines and several tunnels begin at once, and no more is needed. */
export const MAX_OF_A_PEER = 3

/**
 * How long a session may keep its place while nothing is heard of its peer, in ms beyond the rendezvous's latency, and as
 * long again once something was: a path is found within two seconds where much is lost. After that the session goes on for
 * as long as nobody else needs the place: a search may take 23 s.
 */
export const HEARING = 8000

/** What a session that came to nothing counts against its identity is halved in so many ms. */
const HALVED = 60_000

/** By how many such sessions an identity must be ahead of another to give way to it. */
const AHEAD = 2

/** What is left of failures when they are forgotten, and how many identities are remembered for them at most. */
const FORGOTTEN = 0.1
const MAX_REMEMBERED = 1024

/** Pings and pairings do not count against each other. */
export type Kind = 'pairing' | 'ping'

/** How many sessions there is room for just now: of a kind, and of all where they share ports. */
export interface Room {
  readonly pairing: number
  readonly ping: number
  readonly all: number
  /** Why it is less than usual, for whoever is refused. */
  readonly sentence?: string
}

/** Room for as many as an accepter negotiates at most. */
export const ROOM: Room = { pairing: MAX_SESSIONS, ping: MAX_SESSIONS, all: Number.POSITIVE_INFINITY }

export interface Request {
  readonly session: string
  readonly peer: string
  readonly kind: Kind
  /** The latency of the rendezvous, in ms: nothing can be heard before. */
  readonly latency: number
  /** Whether earlier sessions of this kind of the peer end: only its newest counts. */
  readonly supersede: boolean
}

export type Verdict =
  /** It has a place, and those sessions lose theirs: `confirm` it, or `leave` gives them back. */
  | { readonly is: 'admitted'; readonly displaced: readonly string[] }
  /** `sessions` are in the way, the peer's own or those of others: a place comes free soon; `room`: there is none at all. */
  | { readonly is: 'refused'; readonly by: 'sessions' | 'room'; readonly sentence: string }

/** How many sessions hold a place. */
export interface Underway {
  /** Of one peer, pings not counted. */
  readonly ofPeer: number
  /** Of everybody, pings not counted. */
  readonly pairings: number
  readonly all: number
}

interface Seat {
  readonly session: string
  readonly peer: string
  readonly kind: Kind
  state: 'unheard' | 'heard'
  /** From when on anybody may have its place, in ms. */
  due: number
  /** The session that takes this place, if it begins. */
  heir: string | undefined
}

interface Failures {
  readonly count: number
  readonly at: number
}

/**
 * Who may negotiate: a fixed number of places, divided fairly among identities. All times are passed in, and nothing is
 * done here: what `request` displaces, the caller ends.
 */
export class Admission {
  /** In the order in which they came. */
  readonly #seats = new Map<string, Seat>()
  readonly #failures = new Map<string, Failures>()

  /** Asks for a place. */
  request(now: number, request: Request, room: Room = ROOM): Verdict {
    const { session, peer, kind, latency, supersede } = request
    const seats = [...this.#seats.values()].filter(({ heir }) => heir === undefined)
    const alike = seats.filter((seat) => seat.kind === kind)
    const own = alike.filter((seat) => seat.peer === peer)
    const admit = (displaced: readonly Seat[]): Verdict => {
      for (const seat of displaced) seat.heir = session
      const due = now + HEARING + latency
      this.#seats.set(session, { session, peer, kind, state: 'unheard', due, heir: undefined })
      return { is: 'admitted', displaced: displaced.map((seat) => seat.session) }
    }
    if (supersede && own.length > 0) return admit(own)
    if (own.length >= MAX_OF_A_PEER) {
      const overdue = own.find((seat) => seat.due <= now)
      return overdue ? admit([overdue]) : refused(`${own.length} ${PLURAL[kind]} of this identity`)
    }
    const most = Math.min(MAX_SESSIONS, room[kind])
    const rivals = alike.length >= most ? alike : seats.length >= room.all ? seats : undefined
    if (rivals === undefined) return admit([])
    const yielding = this.#yielding(now, rivals, peer)
    if (yielding) return admit([yielding])
    const { sentence } = room
    if (sentence === undefined || rivals.length >= MAX_SESSIONS)
      return refused(`${rivals.length} ${PLURAL[kind]}`)
    return { is: 'refused', by: rivals.length > 0 ? 'sessions' : 'room', sentence }
  }

  /** The place was taken: those that were displaced lose theirs for good. */
  confirm(session: string): void {
    for (const seat of [...this.#seats.values()]) {
      if (seat.heir === session) this.#seats.delete(seat.session)
    }
  }

  /** Something authentic was heard in a session. */
  heard(now: number, session: string): void {
    const seat = this.#seats.get(session)
    if (seat?.state !== 'unheard') return
    seat.state = 'heard'
    seat.due = now + HEARING
  }

  /** A session is over, or was not begun. Without a place it makes no difference. */
  leave(now: number, session: string, how: 'paired' | 'failed' | 'not begun'): void {
    const seat = this.#seats.get(session)
    this.#seats.delete(session)
    for (const other of this.#seats.values()) if (other.heir === session) other.heir = undefined
    if (seat && how === 'failed') this.#count(now, seat.peer)
  }

  /** How much is kept, for whoever watches that it does not grow. */
  get remembered(): { readonly seats: number; readonly failures: number } {
    return { seats: this.#seats.size, failures: this.#failures.size }
  }

  underway(peer: string, except?: string): Underway {
    const seats = [...this.#seats.values()].filter(
      ({ heir, session }) => heir === undefined && session !== except,
    )
    const pairings = seats.filter(({ kind }) => kind === 'pairing')
    const ofPeer = pairings.filter((seat) => seat.peer === peer)
    return { ofPeer: ofPeer.length, pairings: pairings.length, all: seats.length }
  }

  /** Which of several seats, the oldest first, gives way to a peer. */
  #yielding(now: number, rivals: readonly Seat[], peer: string): Seat | undefined {
    const held = new Map<string, number>()
    for (const seat of rivals) held.set(seat.peer, (held.get(seat.peer) ?? 0) + 1)
    const weight = ({ peer: of }: Seat) => (held.get(of) ?? 0) * MAX_REMEMBERED + this.#failed(now, of)
    const heaviest = (seats: readonly Seat[]) =>
      seats.reduce<Seat | undefined>(
        (most, seat) => (!most || weight(seat) > weight(most) ? seat : most),
        undefined,
      )
    const overdue = heaviest(rivals.filter((seat) => seat.due <= now))
    if (overdue || held.has(peer)) return overdue
    const victim = heaviest(rivals.filter((seat) => seat.state === 'unheard'))
    if (!victim) return undefined
    const ahead = this.#failed(now, victim.peer) - this.#failed(now, peer) >= AHEAD
    return (held.get(victim.peer) ?? 0) > 1 || ahead ? victim : undefined
  }

  /** How many sessions of a peer have come to nothing of late. */
  #failed(now: number, peer: string): number {
    const { count, at } = this.#failures.get(peer) ?? { count: 0, at: now }
    return count * 0.5 ** ((now - at) / HALVED)
  }

  #count(now: number, peer: string): void {
    const count = Math.min(this.#failed(now, peer) + 1, MAX_REMEMBERED - 1)
    this.#failures.delete(peer) // the latest come last
    this.#failures.set(peer, { count, at: now })
    for (const known of this.#failures.keys()) {
      if (this.#failures.size <= MAX_REMEMBERED && this.#failed(now, known) >= FORGOTTEN) break
      this.#failures.delete(known)
    }
  }
}

const PLURAL = { pairing: 'pairings', ping: 'pings' } as const

function refused(what: string): Verdict {
  return { is: 'refused', by: 'sessions', sentence: `${what} are already in progress.` }
}
