import { earliest, NEVER } from '../net/index.js'
import { BEST_RANK, LAST_RESORT, rankOf } from './candidate.js'
import type { Pair } from './pair.js'
import type { Probe } from './probe.js'
import type { PunchDue, PunchWhy, Role, RoleContext } from './role.js'
import {
  BACKOFF,
  DONE_COUNT,
  DONE_SPAN,
  NOMINATE_INTERVAL,
  NOMINATE_INTERVAL_MAX,
  NOMINATION_LIFETIME,
  SETTLE_LAST_RESORT,
  SETTLE_MAX,
  SETTLE_MIN,
  SETTLED,
} from './timing.js'

/** Nominations are counted in one byte. */
const MAX_NOMINATIONS = 255

/**
 * The inviter chooses the path. It is committed from the moment a CONFIRM of its current nomination arrives in time,
 * and says so by DONE; before that moment it may fail, after it only an ABORT of the accepter makes it fail, which
 * the accepter sends only if it has not succeeded.
 */
export class Inviter implements Role {
  readonly #punch: RoleContext
  #nominations = 0

  constructor(punch: RoleContext) {
    this.#punch = punch
  }

  /** One packet to each endpoint that opens this side's mapping and leaves the peer's NAT alone. */
  limited(_now: number, pair: Pair): boolean {
    return pair.progress === 'unheard' && pair.checks === 0
  }

  expire(now: number): void {
    const punch = this.#punch
    const state = punch.state
    if (state.name === 'checking' || state.name === 'nominating') {
      if (now >= punch.timeout) {
        punch.giveUp(now, 'PUNCH_TIMEOUT', 'PUNCH_TIMEOUT')
        return
      }
      // whatever went wrong on a nominated path, another one, or the same under a new number, may be confirmed
      const ends = state.name === 'checking' ? state.settles : state.until
      if (ends !== undefined && now >= ends) this.#nominate(now)
    }
    // after a stall the DONEs that are missing still go out first
    if (state.name === 'finishing' && state.sent >= DONE_COUNT && now >= state.settled) {
      punch.succeed(state.pair, false)
    }
  }

  tick(now: number): void {
    const state = this.#punch.state
    if (state.name === 'nominating' && now >= state.next) {
      const remaining = Math.floor(state.until - now)
      const { pair, nomination } = state
      // a proven pair has one: the answer that proved it was sent there
      const { observed: path, counterpart: echo } = pair
      this.#punch.send(now, 'nominate', pair, { nomination, remaining, path, echo })
      const interval = Math.min(state.interval * BACKOFF, NOMINATE_INTERVAL_MAX)
      this.#punch.enter({ ...state, next: now + state.interval, interval })
    }
    if (state.name === 'finishing' && state.sent < DONE_COUNT && now >= state.next) {
      this.#punch.send(now, 'done', state.pair, { nomination: state.nomination })
      const next = now + DONE_SPAN / (DONE_COUNT - 1)
      this.#punch.enter({ ...state, sent: state.sent + 1, next, settled: Math.max(state.settled, next) })
    }
  }

  receive(now: number, probe: Probe): void {
    const punch = this.#punch
    const state = punch.state
    // where a CONFIRM comes from does not matter: what is confirmed is the pair that was nominated
    if (state.name === 'nominating' && probe.type === 'confirm' && probe.nomination === state.nomination) {
      const { pair, nomination } = state
      punch.enter({ name: 'finishing', pair, nomination, sent: 0, next: now, settled: now + SETTLED })
      this.tick(now)
    }
    if (state.name === 'finishing' && probe.type === 'done-ack' && probe.nomination === state.nomination) {
      punch.succeed(state.pair, true)
    }
  }

  proven(now: number, pair: Pair): void {
    const state = this.#punch.state
    if (state.name !== 'checking') return
    if (rankOf(pair.candidate.kind) === BEST_RANK || !this.#punch.mayImproveOn(pair)) {
      this.#nominate(now)
    } else {
      const lastResort = rankOf(pair.candidate.kind) >= LAST_RESORT
      const wait = Math.min(Math.max(pair.rtt ?? SETTLE_MAX, SETTLE_MIN), SETTLE_MAX)
      const settles = now + (lastResort ? SETTLE_LAST_RESORT : wait)
      if (settles < (state.settles ?? Number.POSITIVE_INFINITY)) this.#punch.enter({ ...state, settles })
    }
  }

  dataArrived(): void {
    const state = this.#punch.state
    if (state.name === 'finishing') this.#punch.succeed(state.pair, true)
  }

  get due(): PunchDue {
    const { state, timeout } = this.#punch
    switch (state.name) {
      case 'checking':
        return earliest<PunchWhy>(
          { at: timeout, why: 'give up' },
          state.settles === undefined ? NEVER : { at: state.settles, why: 'nominate' },
        )
      case 'nominating':
        return earliest<PunchWhy>(
          { at: timeout, why: 'give up' },
          { at: state.until, why: 'nominate' },
          { at: state.next, why: 'repeat NOMINATE' },
        )
      case 'finishing':
        return state.sent < DONE_COUNT
          ? { at: state.next, why: 'repeat DONE' }
          : { at: state.settled, why: 'succeed' }
      default:
        return NEVER
    }
  }

  #nominate(now: number): void {
    const punch = this.#punch
    const pair = punch.best()
    if (!pair || this.#nominations >= MAX_NOMINATIONS) {
      punch.giveUp(now, 'PUNCH_TIMEOUT', 'PUNCH_TIMEOUT')
      return
    }
    this.#nominations++
    pair.nominations++
    punch.nominated(pair)
    punch.enter({
      name: 'nominating',
      pair,
      nomination: this.#nominations,
      until: Math.min(now + NOMINATION_LIFETIME, punch.timeout),
      next: now,
      interval: NOMINATE_INTERVAL,
    })
    this.tick(now)
  }
}
