import { type Allowance, type Endpoint, earliest, Governor, NEVER } from '../net/index.js'
import { Accepter } from './accepter.js'
import type { Candidate } from './candidate.js'
import { Checklist } from './checklist.js'
import { ProbeCipher } from './cipher.js'
import { Inviter } from './inviter.js'
import type { Prospects, PunchOptions } from './options.js'
import type { Pair } from './pair.js'
import { plan } from './plan.js'
import { decodeProbe, encodeProbe, type Probe, type ProbeType, sendableReason, UNSAID } from './probe.js'
import { ReplayWindow } from './replay.js'
import type { PunchDue, PunchWhy, Role, RoleContext } from './role.js'
import { Search } from './search.js'
import type { PunchEvent, PunchFailure, PunchState, Transmit } from './state.js'
import {
  ABORT_COUNT,
  ABORT_GAP,
  ABORT_PATHS,
  ACK_GAP,
  LONG_WAIT,
  OPENING_PACE,
  PACE,
  PROMPT,
} from './timing.js'
import { decodeTransportAddress } from './transport-address.js'

/**
 * One side of a punch, without I/O and without a clock: it is given datagrams, ticks and the time, and gives back
 * datagrams, events and the time of its next tick. Times are in ms on one monotonic clock.
 *
 * Its calls: `tick` once at the start; then `receive`, `tick` when it is due, and the others as things happen. After each
 * of them `wantsSearch`, `transmits`, `events` and `state`, and while that is neither succeeded nor failed, `due`.
 *
 * The two sides agree on how it ends. The inviter is committed when a CONFIRM reaches it in time, the accepter when a
 * DONE reaches it, which only a committed inviter sends; an accepter that confirmed outwaits the inviter. What remains
 * is that all of up to 12 DONEs are lost, 0.3^12 = 5 in 10 million at 30% independent loss, and that a side is
 * cancelled by its user in the round trip in which the other one commits, and its three ABORTs are lost or late. Then
 * the inviter believes in a hole that the accepter has given up; authenticated data on it (`dataArrived`) still saves it.
 *
 * What an attacker can do who sees every datagram and can send from any address: stop them, as anybody on the path can.
 * Without keys nothing is authentic; a datagram counts once, wherever it comes from; an endpoint becomes the path
 * only when it sent back a challenge that had been sent to it alone; and the accepter takes the path from what
 * NOMINATE says, not from where it came. Whoever carries the challenges of both sides to and fro is a router on the
 * path, as he could be without a punch (RFC 8445 section 19.2), and comes after endpoints that the peer has signed.
 */
export class Punch {
  readonly #options: PunchOptions
  /** The TTL of opening packets; 0 is full TTL. */
  #hops: number
  readonly #search: Search
  readonly #allowance: Allowance
  /** Until then nothing goes out at full TTL to an endpoint that nothing was heard from. */
  #meekUntil = Number.NEGATIVE_INFINITY
  readonly #cipher: ProbeCipher
  readonly #replay = new ReplayWindow()
  readonly #checklist: Checklist
  readonly #role: Role
  readonly #timeout: number
  #counter = 0
  #state: PunchState
  #transmits: Transmit[] = []
  #events: PunchEvent[] = []
  /** Datagrams that were authentic, came a second time, or were not of the peer; and checks that had to wait for long. */
  readonly received = { authentic: 0, replayed: 0, foreign: 0, held: 0 }

  /** @throws RangeError if the keys cannot serve */
  constructor(options: PunchOptions, now: number) {
    const { role, keys } = options
    const peer = role === 'inviter' ? 'accepter' : 'inviter'
    this.#options = options
    this.#hops = options.hops
    this.#allowance = options.allowance ?? new Governor().allowance('')
    this.#search = new Search(options.random, now, now + (options.prospects?.base ?? 0))
    this.#cipher = new ProbeCipher(keys[role], keys[peer], options.random)
    this.#checklist = new Checklist(options.random)
    this.#timeout = now + options.timeout
    const context = this.#context()
    this.#role = role === 'inviter' ? new Inviter(context) : new Accepter(context, now + options.patience)
    this.#state = { name: role === 'inviter' ? 'checking' : 'opening' }
    this.#checklist.add(now, options.remote)
    if (options.prospects) this.#follow(options.prospects)
  }

  /** Packets of attempts beyond the direct one, and sockets that they took beside the first. */
  get spent(): { readonly packets: number; readonly sockets: number } {
    const { packets, sockets } = this.#search
    return { packets, sockets }
  }

  /** True once when something is to be tried that loads the network: it waits for `permitSearch`. */
  wantsSearch(now: number): boolean {
    return this.#searching() && this.#search.wants(now)
  }

  permitSearch(now: number): void {
    this.#search.permit(now)
  }

  /** More has become known of the two sides: what is under way and still fits goes on. */
  reconsider(prospects: Pick<Prospects, 'own' | 'peer'>): void {
    if (this.#options.prospects) this.#follow({ ...this.#options.prospects, ...prospects })
  }

  get state(): PunchState {
    return this.#state
  }

  /**
   * Takes a datagram that arrived at a socket.
   * @returns true if it was one of the peer's probes, be it a repeated one; it is for somebody else if not
   */
  receive(now: number, data: Uint8Array, from: Endpoint, socket = 0): boolean {
    const bytes = this.#cipher.open(data)
    const probe = bytes && decodeProbe(bytes)
    if (!probe) {
      this.received.foreign++
      return false
    }
    if (!this.#replay.accept(probe.counter)) {
      this.received.replayed++
      return true
    }
    this.received.authentic++
    // what time has brought comes before what the datagram brings
    if (this.#live()) this.#role.expire(now)
    if (!this.#live()) return true
    if (probe.type === 'abort') {
      // an accepter that has its DONE has succeeded, whatever happened to the inviter since
      if (this.#state.name !== 'acknowledging') this.#fail('PEER_ABORTED', probe.reason)
      return true
    }
    this.#search.hold(now)
    const pair = this.#checklist.from(now, from, socket)
    const became = pair?.received(now, probe)
    if (pair && became) this.#event(became, pair)
    if (became === 'proven') this.#allowance.answered(now, from.address)
    this.#role.receive(now, probe)
    if (pair && became === 'proven') this.#role.proven(now, pair)
    if (pair && probe.type === 'check' && this.#checking()) this.#answer(now, pair, probe)
    return true
  }

  /** Does what is due. It may come late, or too early. */
  tick(now: number): void {
    if (this.#live()) this.#role.expire(now)
    if (this.#live()) this.#role.tick(now)
    while (this.#checking()) {
      const pair = this.#checklist.due(now)
      if (!pair) break
      this.#check(now, pair)
    }
    if (this.#searching()) this.#shoot(now)
    this.#abortTick(now)
  }

  /** Adds what has become known of the peer since; endpoints that are known already change nothing. */
  addCandidates(now: number, candidates: readonly Candidate[]): void {
    if (this.#checking()) this.#checklist.add(now, candidates)
  }

  /**
   * Ends the punch from this side: says ABORT a few times, then fails with CANCELLED. Does nothing once it is over, or once an
   * accepter has its DONE: then the inviter has the path already, and both sides are to tell the same.
   * @param reason a code such as CANCELLED: up to 32 capitals, digits and underscores; anything else is sent as OTHER
   */
  abort(now: number, reason: string): void {
    if (this.#live() && this.#state.name !== 'acknowledging') this.#giveUp(now, 'CANCELLED', reason)
  }

  /** Tells that data of this session arrived which the caller has authenticated: as good as a DONE or its answer. */
  dataArrived(): void {
    if (this.#live()) this.#role.dataArrived()
  }

  /** The datagrams to send now, in order. Each is given out once. */
  transmits(): Transmit[] {
    const transmits = this.#transmits
    this.#transmits = []
    return transmits
  }

  /** What has happened since the last call. */
  events(): PunchEvent[] {
    const events = this.#events
    this.#events = []
    return events
  }

  /** When the next tick is wanted, and why; never when it is over. */
  get due(): PunchDue {
    if (this.#state.name === 'aborting') return { at: this.#state.next, why: 'repeat ABORT' }
    return earliest<PunchWhy>(
      this.#role.due,
      this.#checking() ? { at: this.#checklist.nextDue, why: 'check' } : NEVER,
      this.#searching() ? { at: this.#search.nextDue, why: 'search' } : NEVER,
    )
  }

  #live(): boolean {
    const { name } = this.#state
    return name !== 'aborting' && name !== 'succeeded' && name !== 'failed'
  }

  /** True while checks go out and are answered: until the inviter is committed, or the accepter knows that it is. */
  #checking(): boolean {
    const { name } = this.#state
    return name === 'opening' || name === 'checking' || name === 'nominating' || name === 'confirming'
  }

  /** True while nothing has been found that is being made a path. */
  #searching(): boolean {
    const { name } = this.#state
    return name === 'opening' || name === 'checking'
  }

  #follow(prospects: Prospects): void {
    const attempts = plan({ ...prospects, hops: this.#options.hops })
    const [direct] = attempts
    if (direct?.kind === 'direct') {
      this.#hops = direct.opening
      this.#meekUntil = this.#search.timeOf(direct.meek)
    }
    this.#search.follow(attempts)
  }

  /** Sends what the attempts beyond the direct one have due. */
  #shoot(now: number): void {
    const ask = (to: Endpoint) => this.#allowance.take(now, to, 'search')
    for (let shot = this.#search.next(now, ask); shot; shot = this.#search.next(now, ask)) {
      const { socket, to, ttl } = shot
      const challenge = this.#checklist.scatter(socket, to)
      const probe = encodeProbe({ ...UNSAID, type: 'check', counter: this.#counter++, challenge })
      this.#transmit('check', probe, { socket, to, ttl })
    }
    for (const attempt of this.#search.begun()) this.#events.push({ name: 'attempt', attempt })
  }

  #transmit(type: ProbeType, probe: Buffer, way: { socket: number; to: Endpoint; ttl: number }): void {
    const { socket, to, ttl } = way
    const data = this.#cipher.seal(probe)
    this.#transmits.push({ socket, data, to, type, ...(ttl > 0 ? { ttl } : {}) })
  }

  /** Sends the check of a pair that is due, unless it has to wait. */
  #check(now: number, pair: Pair): void {
    if (pair.progress !== 'proven') {
      const wait = this.#allowance.take(now, pair.candidate.endpoint, 'check')
      if (wait > 0) {
        pair.postpone(now + wait)
        if (wait >= LONG_WAIT) this.received.held++
        return
      }
    }
    const { triggered } = pair
    if (pair.checks === 0) this.#event('checked', pair)
    const limited = this.#limited(now, pair)
    // at full TTL from the start: the peer is to hear it as soon as it listens
    pair.checked(now, this.#hops === 0 && this.#state.name === 'opening')
    if (!triggered) this.#checklist.paced(now, limited && pair.checks === 1 ? OPENING_PACE : PACE)
    // the packet that follows the inviter's one limited packet need not wait for an interval
    if (limited && !this.#limited(now, pair)) pair.nextCheck = now + PACE
    const prompt = triggered && now - triggered.at <= PROMPT
    this.#send(now, 'check', pair, {
      ...(limited ? { ttl: this.#hops } : {}),
      ...(prompt ? { echoCounter: triggered.counter } : {}),
    })
  }

  /** True if a check to this pair goes out with the small TTL. */
  #limited(now: number, pair: Pair): boolean {
    if (this.#hops === 0) return false
    return this.#role.limited(now, pair) || (pair.progress === 'unheard' && now < this.#meekUntil)
  }

  /** A check from where this side's challenge came back is answered at once; from elsewhere it asks for a check. */
  #answer(now: number, pair: Pair, probe: Probe): void {
    if (pair.progress !== 'proven') pair.trigger(now, probe.counter)
    else this.#send(now, 'check-ack', pair, { echoCounter: probe.counter })
  }

  #send(
    now: number,
    type: ProbeType,
    pair: Pair,
    fields: Partial<Pick<Probe, 'nomination' | 'remaining' | 'path' | 'reason' | 'echo' | 'echoCounter'>> & {
      ttl?: number
    },
  ): void {
    const { ttl = 0, ...said } = fields
    const counter = this.#counter++
    const { challenge, peerChallenge, destination, progress } = pair
    const probe = encodeProbe({
      ...UNSAID,
      ...(peerChallenge ? { echo: peerChallenge } : {}),
      ...(progress === 'unheard' ? {} : { observed: destination }),
      ...said,
      type,
      counter,
      challenge,
    })
    pair.sent(now, counter)
    this.#transmit(type, probe, { socket: pair.socket, to: pair.candidate.endpoint, ttl })
  }

  #event(name: 'checked' | 'heard' | 'proven' | 'nominated', pair: Pair): void {
    const { candidate, rtt } = pair
    this.#events.push(name === 'checked' || name === 'heard' ? { name, candidate } : { name, candidate, rtt })
  }

  #enter(state: PunchState): void {
    if (state.name !== this.#state.name) this.#events.push({ name: 'state', state: state.name })
    this.#state = state
  }

  #succeed(pair: Pair, acknowledged: boolean): void {
    const { endpoint: peer, kind } = pair.candidate
    const outer = pair.observed && decodeTransportAddress(pair.observed)
    const { socket, rtt } = pair
    const strategy = this.#search.strategyOf(socket, peer)
    this.#enter({ name: 'succeeded', result: { socket, strategy, peer, kind, rtt, outer, acknowledged } })
  }

  #fail(code: PunchFailure['code'], reason: string): void {
    this.#enter({ name: 'failed', failure: { code, reason, ...this.#checklist.count() } })
  }

  #giveUp(now: number, code: PunchFailure['code'], reason: string): void {
    const failure = { code, reason: sendableReason(reason), ...this.#checklist.count() }
    const paths = this.#checklist.reachable(ABORT_PATHS)
    const remaining = Array.from({ length: ABORT_COUNT }, () => paths).flat()
    const gap = Math.max(ACK_GAP, ABORT_GAP / Math.max(paths.length, 1))
    // what the peer says over the rendezvous may have brought this about: nothing unproven is told at once
    const proven = paths[0]?.progress === 'proven'
    this.#enter({ name: 'aborting', failure, remaining, gap, next: proven ? now : now + gap })
    this.#abortTick(now)
  }

  #abortTick(now: number): void {
    const state = this.#state
    if (state.name !== 'aborting' || now < state.next) return
    const [pair, ...remaining] = state.remaining
    if (pair && this.#mayTell(now, pair)) this.#send(now, 'abort', pair, { reason: state.failure.reason })
    if (remaining.length > 0) this.#enter({ ...state, remaining, next: now + state.gap })
    else this.#enter({ name: 'failed', failure: state.failure })
  }

  /** Whether a word that nobody waits for may go there. */
  #mayTell(now: number, { progress, candidate }: Pair): boolean {
    return progress === 'proven' || this.#allowance.take(now, candidate.endpoint, 'check') === 0
  }

  #context(): RoleContext {
    const punch = this
    return {
      get state() {
        return punch.#state
      },
      timeout: this.#timeout,
      enter: (state) => this.#enter(state),
      send: (now, type, pair, fields = {}) => this.#send(now, type, pair, fields),
      trigger: (now, pair, probe) => pair.trigger(now, probe.counter),
      succeed: (pair, acknowledged) => this.#succeed(pair, acknowledged),
      giveUp: (now, code, reason) => this.#giveUp(now, code, reason),
      nominated: (pair) => this.#event('nominated', pair),
      best: () => this.#checklist.best(),
      mayImproveOn: (pair) => this.#checklist.mayImproveOn(pair),
      find: (destination, challenge) => this.#checklist.find(destination, challenge),
      restart: (now) => this.#checklist.restart(now),
    }
  }
}
