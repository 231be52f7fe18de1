import { type Due, earliest, type Random, type TokenBucket } from '../../net/index.js'
import { GENERATION, type Opener, type Sealer } from './cipher.js'
import type { ControlQueue } from './control.js'
import { Ephemeral, type TunnelKeys } from './greeting.js'
import type { EpochSecrets, KeySchedule, RenewalPart } from './key-schedule.js'
import { StreamViolation } from './receive-half.js'
import { type UpkeepFrame, upkeepBytes } from './upkeep-frame.js'

/** When keys are renewed. Times in ms. */
export interface RenewalTimes {
  /** So long after the last renewal. */
  readonly every: number
  /** Or after so many datagrams of both sides, if that is sooner. */
  readonly datagrams: number
  /** The peer has so long to do its part. */
  readonly grace: number
}

/** An hour: what is stolen is worth no more. 2^32 datagrams are some 6 TB, of the 2^62 bytes that the cipher bears. */
export const RENEWAL_TIMES: RenewalTimes = { every: 3_600_000, datagrams: 2 ** 32, grace: 300_000 }

/** The responder only asks when the initiator has let so much more of the time pass: their clocks need not agree. */
const APART = 1 / 60

/** Datagrams of the old keys are opened for so long after the first one of the new ones, in ms: they may have been overtaken. */
const REORDERED = 3_000

/** Without a token it is looked again no sooner than after this, in ms. */
const LEAST_PATIENCE = 100

type RenewalFrame = UpkeepFrame & { readonly type: 'renew' | 'renewed' | 'renewal-wanted' }

/** The numbers of both sides' packets. */
export interface PacketCounts {
  /** How many numbers this side has used. */
  readonly sent: number
  /** How many the peer has. */
  readonly received: number
}

type State =
  | { readonly name: 'fresh'; dueAt: number }
  /** The responder has asked the initiator to begin. */
  | { readonly name: 'asked'; until: number }
  /** The initiator has sent its key. */
  | { readonly name: 'offered'; readonly ephemeral: Ephemeral; readonly part: RenewalPart; until: number }
  /** The initiator's key has come, and the responder's budget is used up. */
  | { readonly name: 'held'; readonly part: RenewalPart; at: number }
  /** Both keys are known; the peer's first datagram under the new ones is waited for, and the responder then seals with them too. */
  | { readonly name: 'agreed'; readonly seal: () => void; until: number }

/**
 * The renewal of a tunnel's keys: RENEW of the initiator, RENEWED of the responder, an X25519 key of each. The initiator
 * alone begins, so two never meet; the responder asks it to when it sees need. The initiator seals with the new keys as
 * soon as it has both halves, the responder when it sees that. What is opened is told by the epoch in each datagram.
 *
 * Its calls: `opened` after each datagram that opened, `handle`, `tick` when it is due; `wipe` at the end.
 */
export class Renewal {
  readonly #initiator: boolean
  readonly #random: Random
  readonly #sealer: Sealer
  readonly #opener: Opener
  readonly #schedule: KeySchedule
  readonly #controls: ControlQueue
  readonly #counts: () => PacketCounts
  readonly #times: RenewalTimes
  readonly #budget: TokenBucket
  readonly #onkeys: (now: number) => void
  #state: State
  /** Packets of both sides when the keys were new. */
  #countedFrom = 0
  #forgetAt = Number.POSITIVE_INFINITY

  /** @param options `budget`: a token for each agreement, of all tunnels with this peer */
  constructor(
    options: {
      readonly initiator: boolean
      readonly random: Random
      readonly keys: TunnelKeys
      readonly controls: ControlQueue
      readonly counts: () => PacketCounts
      readonly times: RenewalTimes
      readonly budget: TokenBucket
      /** The keys of this epoch are in use: the next ones are there before that time, in ms, or the tunnel ends. */
      readonly onkeys: (epoch: number, until: number) => void
    },
    now: number,
  ) {
    const { initiator, random, keys, controls, counts, times, budget, onkeys } = options
    this.#initiator = initiator
    this.#random = random
    this.#sealer = keys.sealer
    this.#opener = keys.opener
    this.#schedule = keys.schedule
    this.#controls = controls
    this.#counts = counts
    this.#times = times
    this.#budget = budget
    this.#onkeys = (at) => onkeys(keys.schedule.epoch, at + 2 * (times.every + times.grace))
    this.#onkeys(now)
    this.#state = { name: 'fresh', dueAt: this.#nextAt(now) }
  }

  /** When `tick` wants to be called, and why. */
  get due(): Due<'renew the keys' | 'forget old keys' | 'give up'> {
    const forget = { at: this.#forgetAt, why: 'forget old keys' } as const
    const state = this.#state
    switch (state.name) {
      case 'fresh':
        return earliest<'renew the keys' | 'forget old keys'>(forget, {
          at: state.dueAt,
          why: 'renew the keys',
        })
      case 'held':
        return earliest<'renew the keys' | 'forget old keys'>(forget, { at: state.at, why: 'renew the keys' })
      default:
        return earliest<'forget old keys' | 'give up'>(forget, { at: state.until, why: 'give up' })
    }
  }

  /**
   * @param asleep for how long the process stood still, in ms: that does not count against the peer
   * @returns why the tunnel is over, if it is
   */
  tick(now: number, asleep: number): string | undefined {
    if (now >= this.#forgetAt) {
      this.#forgetAt = Number.POSITIVE_INFINITY
      this.#opener.forgetOlder()
    }
    const state = this.#state
    switch (state.name) {
      case 'fresh':
        if (now >= state.dueAt || this.spent) this.#begin(now)
        return undefined
      case 'held':
        return now >= state.at ? this.#late(now, state.part) : undefined
      default:
        state.until += asleep
        return now < state.until ? undefined : 'The peer did not renew the keys of the tunnel in time.'
    }
  }

  /** So many datagrams were sent under the present keys that others are due, whatever the time. */
  get spent(): boolean {
    return this.#state.name === 'fresh' && this.#count - this.#countedFrom >= this.#times.datagrams
  }

  /** A datagram of the peer has opened. Returns true if it is the first of new keys. */
  opened(now: number): boolean {
    const state = this.#state
    if (state.name !== 'agreed' || this.#opener.epoch < this.#schedule.epoch) return false
    state.seal()
    this.#forgetAt = now + REORDERED
    this.#countedFrom = this.#count
    this.#onkeys(now)
    this.#state = { name: 'fresh', dueAt: this.#nextAt(now) }
    return true
  }

  /** Takes what the peer says. A repetition says nothing. @throws StreamViolation */
  handle(now: number, frame: RenewalFrame): void {
    const { epoch } = this.#schedule
    if (this.#initiator === (frame.type === 'renew')) throw new StreamViolation('a renewal by the wrong side')
    if (frame.epoch <= epoch) return
    const state = this.#state
    if (frame.epoch > epoch + 1 || state.name === 'agreed')
      throw new StreamViolation('a renewal before the one that comes first')
    switch (frame.type) {
      case 'renewal-wanted':
        if (state.name === 'fresh') state.dueAt = Math.min(state.dueAt, now)
        return
      case 'renewed':
        if (state.name !== 'offered') throw new StreamViolation('an answer to no renewal')
        this.#renewed(now, state, partOf(frame))
        return
      case 'renew':
        if (state.name !== 'held') this.#hold(now, partOf(frame))
    }
  }

  /** Forgets what is under way. */
  wipe(): void {
    if (this.#state.name === 'offered') this.#state.ephemeral.wipe()
  }

  get #count(): number {
    const { sent, received } = this.#counts()
    return sent + received
  }

  #nextAt(now: number): number {
    const { every } = this.#times
    return now + (this.#initiator ? every : every * (1 + APART))
  }

  /** The initiator sends its key; the responder asks for it. */
  #begin(now: number): void {
    const until = now + this.#times.grace
    if (!this.#initiator) {
      this.#state = { name: 'asked', until }
      this.#send(
        { type: 'renewal-wanted', epoch: this.#schedule.epoch + 1 },
        () => this.#state.name === 'asked',
      )
      return
    }
    if (!this.#budget.take(now)) {
      this.#state = { name: 'fresh', dueAt: now + this.#patience(now) }
      return
    }
    const ephemeral = new Ephemeral(this.#random)
    const part = this.#partWith(ephemeral)
    this.#state = { name: 'offered', ephemeral, part, until }
    this.#send({ type: 'renew', ...part }, () => this.#state.name === 'offered')
  }

  /** The responder answers the initiator's key once its budget allows that. */
  #hold(now: number, part: RenewalPart): void {
    if (this.#budget.take(now)) this.#answer(now, part)
    else this.#state = { name: 'held', part, at: now + this.#patience(now) }
  }

  /** The same once it has waited. @returns why the tunnel is over, if it is */
  #late(now: number, part: RenewalPart): string | undefined {
    try {
      this.#hold(now, part)
      return undefined
    } catch (thrown) {
      if (thrown instanceof StreamViolation) return `The peer violated the protocol: ${thrown.message}.`
      throw thrown
    }
  }

  #answer(now: number, theirs: RenewalPart): void {
    this.#assertPresent(theirs)
    const ephemeral = new Ephemeral(this.#random)
    const own = this.#partWith(ephemeral)
    const { initiator, responder } = this.#agree(ephemeral, theirs, { initiator: theirs, responder: own })
    this.#opener.renew(initiator, theirs.generation)
    const seal = () => this.#sealer.renew(responder, own.generation)
    this.#state = { name: 'agreed', seal, until: now + this.#times.grace }
    this.#send({ type: 'renewed', ...own }, () => this.#state.name === 'agreed')
  }

  #renewed(now: number, offered: State & { name: 'offered' }, theirs: RenewalPart): void {
    const { ephemeral, part } = offered
    this.#assertPresent(theirs)
    const { initiator, responder } = this.#agree(ephemeral, theirs, { initiator: part, responder: theirs })
    this.#opener.renew(responder, theirs.generation)
    this.#sealer.renew(initiator, part.generation)
    this.#state = { name: 'agreed', seal: () => {}, until: now + this.#times.grace }
  }

  #assertPresent({ generation }: RenewalPart): void {
    if (!this.#opener.canRenew(generation))
      throw new StreamViolation('a renewal from another generation of keys')
  }

  #agree(
    ephemeral: Ephemeral,
    theirs: RenewalPart,
    parts: { readonly initiator: RenewalPart; readonly responder: RenewalPart },
  ): EpochSecrets {
    const shared = ephemeral.agree(theirs.key)
    ephemeral.wipe()
    if (!shared) throw new StreamViolation('a key of small order')
    return this.#schedule.renew(shared, parts.initiator, parts.responder)
  }

  #partWith({ publicKey }: Ephemeral): RenewalPart {
    const generation = Math.floor(this.#counts().sent / GENERATION)
    return { epoch: this.#schedule.epoch + 1, generation, key: publicKey }
  }

  #send(frame: UpkeepFrame, wanted: () => boolean): void {
    const bytes = upkeepBytes(frame)
    this.#controls.add({ length: bytes.length, write: (writer) => writer.whole(bytes), wanted })
  }

  /** Until there is a token, in ms; somebody else may have it then. */
  #patience(now: number): number {
    return Math.max(LEAST_PATIENCE, this.#budget.wait(now))
  }
}

/** What of a frame is bound, with bytes that are its own: the datagram's are used again. */
function partOf({ epoch, generation, key }: RenewalPart): RenewalPart {
  return { epoch, generation, key: Buffer.from(key) }
}
