import type { Endpoint, Random } from '../net/index.js'
import { type PortPattern, withinRange } from './forecast.js'
import { type After, type Attempt, isSearch, SEEK_PACE, SPREAD_PACE, type Strategy } from './plan.js'

/** What one side may use up in one punch, whatever the plan: small datagrams, and sockets beside the first. */
export const MAX_SEARCH_PACKETS = 3000
export const MAX_SEARCH_SOCKETS = 512

/** How long a search keeps still after something authentic was heard, in ms: mostly that is the end of it. */
const HOLD = 1500

/** A probe that comes so late, in ms, moves all that follow: what was missed is not made up for in a burst. */
const LATE = 40

/** A packet to send now. */
export interface Shot {
  /** 0 is the socket of the punch; the others are opened with their first packet. */
  readonly socket: number
  readonly to: Endpoint
  /** In hops; 0 is full TTL. */
  readonly ttl: number
}

type Active = Exclude<Attempt, { kind: 'direct' }>

/** An attempt under way, or still to come. */
interface Course {
  readonly attempt: Active
  /** When it began, undefined before. */
  started: number | undefined
  /** The number of its first socket. */
  first: number
  sockets: number
  /** How many packets it has sent. */
  shots: number
  /** The ports that it has probed. */
  readonly probed: Set<number>
  /** The port that is probed next, once it was chosen. */
  port: number | undefined
  /** Its next packet may not go out before. */
  heldUntil: number
}

/** Asks for one packet there: 0 if it may be sent now, else how long to wait, in ms. */
export type Ask = (to: Endpoint) => number

/**
 * Carries out the attempts of a plan beyond the direct one, without sockets or timers: which packet is due when. Those
 * that load the network wait for a permission. Times are in ms.
 */
export class Search {
  readonly #random: Random
  /** When the punch began: nothing begins before. */
  #from: number
  #base: number
  #courses: Course[] = []
  #permission: 'none' | 'asked' | 'given' = 'none'
  #quietUntil = Number.NEGATIVE_INFINITY
  #begun: Active[] = []
  /** How many packets were sent, and how many sockets taken. */
  packets = 0
  sockets = 0

  /** @param base when both sides are expected to punch */
  constructor(random: Random, now: number, base: number) {
    this.#random = random
    this.#from = now
    this.#base = base
  }

  /** Takes over a plan: what is under way and part of it goes on. */
  follow(attempts: readonly Attempt[]): void {
    const known = new Map(this.#courses.map((course) => [JSON.stringify(course.attempt), course]))
    this.#courses = attempts.flatMap((attempt) =>
      attempt.kind === 'direct' ? [] : [known.get(JSON.stringify(attempt)) ?? begun(attempt)],
    )
  }

  /** True once when something is due that needs a permission. */
  wants(now: number): boolean {
    if (this.#permission !== 'none') return false
    if (!this.#courses.some((course) => isSearch(course.attempt) && this.#start(course) <= now)) return false
    this.#permission = 'asked'
    return true
  }

  /** From now on it may load the network. */
  permit(now: number): void {
    if (this.#permission === 'given') return
    this.#permission = 'given'
    const waiting = this.#courses.filter(({ attempt }) => isSearch(attempt)).map((one) => this.#start(one))
    // whoever had to wait keeps the distances of the plan
    const late = waiting.length > 0 ? Math.max(0, now - Math.min(...waiting)) : 0
    this.#from += late
    this.#base += late
  }

  /** Something authentic was heard. */
  hold(now: number): void {
    this.#quietUntil = now + HOLD
  }

  /** By what a path between a socket of this side and an endpoint of the peer was found. */
  strategyOf(socket: number, { address, port }: Endpoint): Strategy {
    const course = this.#courses.find(({ attempt, first, sockets, probed }) =>
      attempt.kind === 'spread'
        ? socket >= first && socket < first + sockets
        : socket === 0 && attempt.address === address && probed.has(port),
    )
    return course?.attempt.strategy ?? 'direct'
  }

  /** What has begun since the last call. */
  begun(): Active[] {
    const begun = this.#begun
    this.#begun = []
    return begun
  }

  /** The packet that is due; to be called until there is none. */
  next(now: number, ask: Ask): Shot | undefined {
    if (now < this.#quietUntil || this.packets >= MAX_SEARCH_PACKETS) return undefined
    for (const course of this.#courses) {
      if (this.#due(course) > now) continue
      const shot = this.#shoot(course, now, ask)
      if (shot) {
        this.packets++
        return shot
      }
    }
    return undefined
  }

  /** When something is due next; Infinity for never. */
  get nextDue(): number {
    if (this.packets >= MAX_SEARCH_PACKETS) return Number.POSITIVE_INFINITY
    let next = Number.POSITIVE_INFINITY
    for (const course of this.#courses) next = Math.min(next, this.#due(course))
    return Math.max(next, this.#quietUntil)
  }

  /** When that is. */
  timeOf(after: After): number {
    return 'own' in after ? this.#from + after.own : this.#base + after.both
  }

  #start({ attempt }: Course): number {
    return this.timeOf(attempt.after)
  }

  #due(course: Course): number {
    return Math.max(this.#scheduled(course), course.heldUntil)
  }

  #scheduled(course: Course): number {
    const { attempt, started, shots, sockets } = course
    if (started === undefined) {
      const asked = isSearch(attempt) && this.#permission === 'asked'
      return asked ? Number.POSITIVE_INFINITY : this.#start(course)
    }
    if (attempt.kind === 'seek') {
      return shots < attempt.ports.count ? started + shots * SEEK_PACE : Number.POSITIVE_INFINITY
    }
    const round = sockets > 0 ? attempt.rounds[Math.floor(shots / sockets)] : undefined
    return round ? started + round.after + (shots % sockets) * SPREAD_PACE : Number.POSITIVE_INFINITY
  }

  #shoot(course: Course, now: number, ask: Ask): Shot | undefined {
    const { attempt } = course
    if (course.started === undefined) {
      if (isSearch(attempt) && this.#permission !== 'given') return undefined
      course.started = now
      if (attempt.kind === 'spread') {
        course.first = this.sockets + 1
        course.sockets = Math.min(attempt.sockets, MAX_SEARCH_SOCKETS - this.sockets)
        this.sockets += course.sockets
        if (course.sockets === 0) return undefined
      }
      this.#begun.push(attempt)
    }
    if (attempt.kind === 'seek') {
      const late = now - (course.started + course.shots * SEEK_PACE)
      if (late > LATE) course.started += late
      course.port ??= this.#port(attempt.ports, course)
      const to = { address: attempt.address, port: course.port }
      if (held(course, now, ask(to))) return undefined
      course.port = undefined
      course.shots++
      return { socket: 0, to, ttl: 0 }
    }
    if (held(course, now, ask(attempt.to))) return undefined
    const nth = course.shots % course.sockets
    const round = attempt.rounds[Math.floor(course.shots / course.sockets)]
    course.shots++
    const ttl = round?.hops[nth % round.hops.length] ?? 0
    return { socket: course.first + nth, to: attempt.to, ttl }
  }

  #port(ports: PortPattern, { shots, probed }: Course): number {
    let port: number
    if (ports.kind === 'window') port = withinRange(ports.from + shots * ports.step)
    else {
      port = ports.from + (this.#random(4).readUInt32BE() % (ports.to - ports.from + 1))
      // the next that is free is as good as random: the mappings are
      while (probed.has(port)) port = port === ports.to ? ports.from : port + 1
    }
    probed.add(port)
    return port
  }
}

/** Whether it has to wait. */
function held(course: Course, now: number, wait: number): boolean {
  if (wait > 0) course.heldUntil = now + wait
  return wait > 0
}

function begun(attempt: Active): Course {
  const none = { started: undefined, first: 0, sockets: 0, shots: 0 }
  return { attempt, ...none, probed: new Set(), port: undefined, heldUntil: Number.NEGATIVE_INFINITY }
}
