import { type Due, earliest, NEVER, type Random, TokenBucket } from '../../net/index.js'
import type { ControlQueue } from './control.js'
import { RENEWING, REVISION, type TunnelKeys } from './greeting.js'
import type { Greeted } from './handshake.js'
import { PROOF_TIMES, type ProofEvent, Proofs, type ProofTimes } from './proofs.js'
import { StreamViolation } from './receive-half.js'
import { type PacketCounts, RENEWAL_TIMES, Renewal, type RenewalTimes } from './renewal.js'
import { UPKEEP_LIMIT } from './upkeep-budget.js'
import type { ProofSignature, UpkeepFrame } from './upkeep-frame.js'

export interface UpkeepOptions {
  readonly initiator: boolean
  readonly random: Random
  /** What renewals and proofs of this peer may cost, over all tunnels; without it this tunnel has its own budget. */
  readonly upkeepBudget?: TokenBucket
  /** Other times than the usual ones, for tests. */
  readonly renewalTimes?: RenewalTimes
  readonly proofTimes?: ProofTimes
  /** As this side's greetings say. */
  readonly revision?: number
  readonly proves?: boolean
}

/** What of a tunnel it works on. */
export interface UpkeepParts {
  readonly peer: Greeted
  readonly keys: TunnelKeys
  readonly controls: ControlQueue
  readonly counts: () => PacketCounts
  readonly emit: (event: ProofEvent) => void
  /** The keys of this epoch are in use: the next ones are there before that time, in ms, or the tunnel ends. */
  readonly onkeys: (epoch: number, until: number) => void
}

export type UpkeepWhy = Renewal['due']['why'] | Proofs['due']['why']

/** What keeps an open tunnel fresh: new keys each hour, identities proven anew. Nothing of it with a peer of before. */
export class Upkeep {
  readonly #keys: TunnelKeys
  readonly #renewal: Renewal | undefined
  readonly #proofs: Proofs | undefined
  #due: Due<UpkeepWhy> | undefined

  constructor(options: UpkeepOptions, parts: UpkeepParts, now: number) {
    const { renewalTimes = RENEWAL_TIMES, proofTimes = PROOF_TIMES, initiator, random } = options
    const { upkeepBudget: budget = new TokenBucket(UPKEEP_LIMIT, now), revision = REVISION } = options
    const { peer, keys, controls, counts, emit, onkeys } = parts
    this.#keys = keys
    if (Math.min(peer.revision, revision) < RENEWING) return
    const common = { initiator, keys, controls, budget }
    this.#renewal = new Renewal({ ...common, random, counts, times: renewalTimes, onkeys }, now)
    if (peer.proves && options.proves) this.#proofs = new Proofs({ ...common, times: proofTimes, emit }, now)
  }

  /** When `tick` wants to be called, and why. It is asked twice a turn, and seldom changes. */
  get due(): Due<UpkeepWhy> {
    this.#due ??= earliest<UpkeepWhy>(this.#renewal?.due ?? NEVER, this.#proofs?.due ?? NEVER)
    return this.#due
  }

  /**
   * @param asleep for how long the process stood still, in ms
   * @returns why the tunnel is over, if it is
   */
  tick(now: number, asleep: number): string | undefined {
    if (now < this.due.at && asleep === 0 && !this.#renewal?.spent) return undefined
    this.#due = undefined
    return this.#renewal?.tick(now, asleep) ?? this.#proofs?.tick(now, asleep)
  }

  /** A datagram of the peer has opened. */
  opened(now: number): void {
    if (this.#renewal?.opened(now)) this.#due = undefined
  }

  /** @throws StreamViolation */
  handle(now: number, frame: UpkeepFrame): void {
    const part = frame.type === 'proof' || frame.type === 'proof-wanted' ? this.#proofs : this.#renewal
    this.#due = undefined
    if (!part) throw new StreamViolation('a frame that this side has not asked for')
    if (frame.type === 'proof' || frame.type === 'proof-wanted') this.#proofs?.handle(now, frame)
    else this.#renewal?.handle(now, frame)
  }

  /** The answer to `proof-wanted`. @param time what its `bytes` was given */
  signed(time: number, signatures: readonly ProofSignature[]): void {
    this.#due = undefined
    this.#proofs?.signed(time, signatures)
  }

  /** The peer's `proof` is good. */
  judged(now: number): void {
    this.#due = undefined
    this.#proofs?.judged(now)
  }

  /** How often the keys were renewed. */
  get epoch(): number {
    return this.#keys.opener.epoch
  }

  /** Forgets all keys. */
  wipe(): void {
    const { sealer, opener, schedule } = this.#keys
    this.#renewal?.wipe()
    for (const each of [sealer, opener, schedule]) each.wipe()
  }
}
