import type { Due } from '../net/index.js'
import type { Pair } from './pair.js'
import type { Probe, ProbeType } from './probe.js'
import type { PunchFailure, PunchState } from './state.js'

/** What a side of a punch waits to do. */
export type PunchWhy =
  /** To send the next check of a pair, or the next packet of a search. */
  | 'check'
  | 'search'
  /** Inviter: to nominate the best pair that was proven, and to say so again. */
  | 'nominate'
  | 'repeat NOMINATE'
  | 'repeat DONE'
  /** To hand the path over: nothing more will come of waiting. */
  | 'succeed'
  /** Accepter: to send at full TTL from now on. */
  | 'open no more'
  | 'repeat DONE-ACK'
  /** Accepter: the inviter can no longer act on what was confirmed. */
  | 'look on'
  | 'repeat ABORT'
  | 'give up'

export type PunchDue = Due<PunchWhy>

/** What a role may do with the punch that it is part of. */
export interface RoleContext {
  readonly state: PunchState
  /** When this side gives up. */
  readonly timeout: number
  enter(state: PunchState): void
  /** Sends a datagram at full TTL. */
  send(
    now: number,
    type: ProbeType,
    pair: Pair,
    fields?: Partial<Pick<Probe, 'nomination' | 'remaining' | 'path' | 'echo'>>,
  ): void
  /** The peer asks for a check of this pair: it is due, and goes out with the next tick that may send it. */
  trigger(now: number, pair: Pair, probe: Probe): void
  succeed(pair: Pair, acknowledged: boolean): void
  /** Says ABORT, then fails. */
  giveUp(now: number, code: PunchFailure['code'], reason: string): void
  nominated(pair: Pair): void
  /** The proven pair to nominate. */
  best(): Pair | undefined
  mayImproveOn(pair: Pair): boolean
  /** The pair of an endpoint as it stands in a datagram, and of the challenge that was sent there. */
  find(destination: Buffer, challenge: Buffer): Pair | undefined
  /** The retransmissions of every pair that was not heard begin anew. */
  restart(now: number): void
}

/**
 * The part of the handshake that differs between inviter and accepter.
 *
 * Its calls, all by the punch: `expire` before anything else at a time; then `receive` for a probe, and after it `proven`
 * for a pair that the probe has proven, or `tick`. `due` after any of them.
 */
export interface Role {
  /** True if a check to this pair goes out with the small TTL. */
  limited(now: number, pair: Pair): boolean
  /** Does what time alone brings: gives up, moves on. Called before anything else at `now`. */
  expire(now: number): void
  /** Sends what is due. */
  tick(now: number): void
  receive(now: number, probe: Probe): void
  /** A pair has just been proven. */
  proven(now: number, pair: Pair): void
  /** Authenticated data of the session arrived: the peer has handed over, so it knows that this side knows. */
  dataArrived(): void
  /** When `expire` or `tick` has something to do next. */
  readonly due: PunchDue
}
