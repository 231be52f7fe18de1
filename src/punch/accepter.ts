import { earliest, NEVER } from '../net/index.js'
import type { Pair } from './pair.js'
import type { Probe } from './probe.js'
import type { PunchDue, PunchWhy, Role, RoleContext } from './role.js'
import type { Confirmed, PunchState } from './state.js'
import { ACK_COUNT, ACK_GAP, CONFIRM_MARGIN, GRACE, LATE, NOMINATION_LIFETIME } from './timing.js'

/**
 * The accepter confirms what is nominated, once it has proven that path itself, and succeeds on DONE. Having
 * confirmed it does not give up before the inviter can no longer act on it: NOMINATE says how long that is.
 */
export class Accepter implements Role {
  readonly #punch: RoleContext
  readonly #patience: number
  /** The nomination that waits until its path is proven. */
  #pending: Confirmed | undefined

  /** @param patience when the TTL-limited phase ends */
  constructor(punch: RoleContext, patience: number) {
    this.#punch = punch
    this.#patience = patience
  }

  /** A port mapping lets everybody in, so nothing behind it takes offence at a packet that comes too early. */
  limited(now: number, pair: Pair): boolean {
    if (pair.candidate.kind === 'mapped') return false
    return pair.progress === 'unheard' && now < this.#patience
  }

  expire(now: number): void {
    const punch = this.#punch
    const { state } = punch
    if (state.name === 'confirming') {
      this.#outwait(now, state.confirmed)
    } else if (state.name === 'opening' || state.name === 'checking') {
      if (now >= punch.timeout) {
        punch.giveUp(now, 'PUNCH_TIMEOUT', 'PUNCH_TIMEOUT')
      } else if (state.name === 'opening' && now >= this.#patience) {
        punch.enter({ name: 'checking' })
        punch.restart(now)
      }
    }
  }

  tick(now: number): void {
    const state = this.#punch.state
    if (state.name !== 'acknowledging' || now < state.next) return
    const { pair, nomination } = state.confirmed
    this.#punch.send(now, 'done-ack', pair, { nomination })
    const sent = state.sent + 1
    if (sent < ACK_COUNT) this.#punch.enter({ ...state, sent, next: now + ACK_GAP })
    else this.#punch.succeed(pair, true)
  }

  receive(now: number, probe: Probe): void {
    const punch = this.#punch
    if (punch.state.name === 'opening') punch.enter({ name: 'checking' })
    if (probe.type === 'nominate') this.#nominated(now, probe)
    const confirmed = confirmedIn(punch.state)
    if (probe.type === 'done' && confirmed?.nomination === probe.nomination) {
      punch.enter({ name: 'acknowledging', confirmed, sent: 0, next: now })
      this.tick(now)
    }
  }

  proven(now: number, pair: Pair): void {
    if (this.#pending?.pair === pair) this.#confirm(now, this.#pending)
  }

  dataArrived(): void {
    const confirmed = confirmedIn(this.#punch.state)
    if (confirmed) this.#punch.succeed(confirmed.pair, true)
  }

  get due(): PunchDue {
    const { state, timeout } = this.#punch
    switch (state.name) {
      case 'opening':
        return earliest<PunchWhy>(
          { at: timeout, why: 'give up' },
          { at: this.#patience, why: 'open no more' },
        )
      case 'checking':
        return { at: timeout, why: 'give up' }
      case 'confirming':
        return { at: state.confirmed.until, why: 'look on' }
      case 'acknowledging':
        return { at: state.next, why: 'repeat DONE-ACK' }
      default:
        return NEVER
    }
  }

  #nominated(now: number, probe: Probe): void {
    const punch = this.#punch
    // where it came from does not matter: anybody may have sent it on from there
    const pair = punch.find(probe.path, probe.echo)
    if (!pair) return
    if (punch.state.name !== 'checking' && punch.state.name !== 'confirming') return
    const last = confirmedIn(punch.state)?.nomination ?? 0
    if (probe.nomination < Math.max(last, this.#pending?.nomination ?? 1)) return
    // a new promise is not given after the time is up; an old one is repeated
    if (now >= punch.timeout && probe.nomination !== last) return
    const until = now + Math.min(probe.remaining, NOMINATION_LIFETIME) + CONFIRM_MARGIN
    this.#pending = { pair, nomination: probe.nomination, until }
    if (pair.progress === 'proven') this.#confirm(now, this.#pending)
    else punch.trigger(now, pair, probe)
  }

  #outwait(now: number, confirmed: Confirmed): void {
    const punch = this.#punch
    if (now < confirmed.until) return
    // the machine slept: a DONE may lie in the socket's buffer
    if (now >= confirmed.until + LATE) {
      punch.enter({ name: 'confirming', confirmed: { ...confirmed, until: now + GRACE } })
    } else if (now >= punch.timeout) {
      punch.giveUp(now, 'PUNCH_TIMEOUT', 'PUNCH_TIMEOUT')
    } else {
      punch.enter({ name: 'checking', confirmed })
    }
  }

  #confirm(now: number, pending: Confirmed): void {
    const punch = this.#punch
    if (punch.state.name !== 'checking' && punch.state.name !== 'confirming') return
    this.#pending = undefined
    const last = confirmedIn(punch.state)
    const until = Math.max(pending.until, last?.nomination === pending.nomination ? last.until : 0)
    if (last?.nomination !== pending.nomination) punch.nominated(pending.pair)
    punch.enter({ name: 'confirming', confirmed: { ...pending, until } })
    punch.send(now, 'confirm', pending.pair, { nomination: pending.nomination })
  }
}

function confirmedIn(state: PunchState): Confirmed | undefined {
  return state.name === 'confirming' || state.name === 'checking' ? state.confirmed : undefined
}
