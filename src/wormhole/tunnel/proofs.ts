import { type Due, earliest, NEVER, type TokenBucket } from '../../net/index.js'
import type { ControlQueue } from './control.js'
import type { TunnelKeys } from './greeting.js'
import { StreamViolation } from './receive-half.js'
import { type ProofSignature, type UpkeepFrame, upkeepBytes } from './upkeep-frame.js'

/** When identities are proven anew. Times in ms. */
export interface ProofTimes {
  /** So long after the last proof. */
  readonly every: number
  /** The peer has so long to answer: its program may have to wait for a disk. */
  readonly grace: number
}

/** Twelve hours: a key that was shut out where nobody looks is out by then. */
export const PROOF_TIMES: ProofTimes = { every: 12 * 3_600_000, grace: 600_000 }

/** Without a token it is looked again no sooner than after this, in ms. */
const LEAST_PATIENCE = 100

/** What one side signs for the other. */
export interface Statement {
  readonly round: number
  readonly epoch: number
  /** ms since 1970-01-01 UTC by the signer's clock. */
  readonly time: number
}

export type ProofEvent =
  /** The peer wants to have this side's identity proven: `signed` takes the answer. `bytes` gives what to sign at that time. */
  | { readonly name: 'proof-wanted'; readonly bytes: (time: number) => Buffer }
  /** The peer's proof: `judged` takes the verdict. */
  | {
      readonly name: 'proof'
      /** What is to have been signed. */
      readonly bytes: Buffer
      /** By the signer's clock. */
      readonly time: number
      readonly signatures: readonly ProofSignature[]
    }

/** How it stands with the peer's proof. */
type Theirs =
  | { readonly name: 'proven'; readonly dueAt: number }
  | { readonly name: 'asked'; until: number }
  | { readonly name: 'judged' }

/** How it stands with this side's. */
type Own =
  | { readonly name: 'idle' }
  | { readonly name: 'held'; at: number }
  | { readonly name: 'signing'; epoch: number }

type ProofFrame = UpkeepFrame & { readonly type: 'proof' | 'proof-wanted' }

/**
 * The identities of a tunnel's sides, proven anew: who wants the proof asks for it, PROOF_WANTED, and the other one signs
 * what only these two know of the present keys, PROOF. Each side asks by its own clock. What signs and what judges is
 * outside, and takes its time.
 *
 * Its calls: `handle`, `signed`, `judged`, `tick` when it is due.
 */
export class Proofs {
  readonly #initiator: boolean
  readonly #keys: TunnelKeys
  readonly #controls: ControlQueue
  readonly #times: ProofTimes
  readonly #budget: TokenBucket
  readonly #emit: (event: ProofEvent) => void
  #theirs: Theirs
  #own: Own = { name: 'idle' }
  /** What this side has asked for, and what it was asked for. */
  #asked = 0
  #wanted = 0

  /** @param options `budget`: a token for each signature that the peer asks for, of all tunnels with it */
  constructor(
    options: {
      readonly initiator: boolean
      readonly keys: TunnelKeys
      readonly controls: ControlQueue
      readonly times: ProofTimes
      readonly budget: TokenBucket
      readonly emit: (event: ProofEvent) => void
    },
    now: number,
  ) {
    this.#initiator = options.initiator
    this.#keys = options.keys
    this.#controls = options.controls
    this.#times = options.times
    this.#budget = options.budget
    this.#emit = options.emit
    this.#theirs = { name: 'proven', dueAt: now + options.times.every }
  }

  /** When `tick` wants to be called, and why. */
  get due(): Due<'ask for a proof' | 'prove' | 'give up'> {
    const [theirs, own] = [this.#theirs, this.#own]
    return earliest<'ask for a proof' | 'prove' | 'give up'>(
      own.name === 'held' ? { at: own.at, why: 'prove' } : NEVER,
      theirs.name === 'proven' ? { at: theirs.dueAt, why: 'ask for a proof' } : NEVER,
      theirs.name === 'asked' ? { at: theirs.until, why: 'give up' } : NEVER,
    )
  }

  /**
   * @param asleep for how long the process stood still, in ms: that does not count against the peer
   * @returns why the tunnel is over, if it is
   */
  tick(now: number, asleep: number): string | undefined {
    const theirs = this.#theirs
    if (this.#own.name === 'held' && now >= this.#own.at) this.#prove(now)
    if (theirs.name === 'proven' && now >= theirs.dueAt) this.#ask(now + this.#times.grace)
    if (theirs.name !== 'asked') return undefined
    theirs.until += asleep
    return now < theirs.until ? undefined : 'The peer did not prove its identity again in time.'
  }

  /** Takes what the peer says. A repetition says nothing. @throws StreamViolation */
  handle(now: number, frame: ProofFrame): void {
    if (frame.type === 'proof') this.#proof(frame)
    else if (frame.round > this.#wanted) {
      if (frame.round > this.#wanted + 1 || this.#own.name !== 'idle')
        throw new StreamViolation('a proof wanted before the last one was given')
      this.#wanted = frame.round
      this.#prove(now)
    }
  }

  /** What was wanted is signed. @param time what `bytes` was given */
  signed(time: number, signatures: readonly ProofSignature[]): void {
    const own = this.#own
    if (own.name !== 'signing') return
    this.#own = { name: 'idle' }
    const { epoch } = own
    const round = this.#wanted
    this.#send({ type: 'proof', round, epoch, time, signatures }, () => this.#wanted === round)
  }

  /** The peer's proof is good. */
  judged(now: number): void {
    if (this.#theirs.name === 'judged') this.#theirs = { name: 'proven', dueAt: now + this.#times.every }
  }

  #ask(until: number): void {
    const round = ++this.#asked
    this.#theirs = { name: 'asked', until }
    this.#send({ type: 'proof-wanted', round }, () => this.#theirs.name === 'asked' && this.#asked === round)
  }

  #prove(now: number): void {
    if (!this.#budget.take(now)) {
      this.#own = { name: 'held', at: now + Math.max(LEAST_PATIENCE, this.#budget.wait(now)) }
      return
    }
    const { sealer, schedule } = this.#keys
    const signing: Own = { name: 'signing', epoch: sealer.epoch }
    this.#own = signing
    const round = this.#wanted
    const bytes = (time: number) => {
      // the epoch in use is one that the peer has too; a second try may be in a later one
      signing.epoch = sealer.epoch
      const exporter = schedule.exporter(signing.epoch)
      if (!exporter) throw new Error('the keys in use have an exporter')
      return statement(this.#initiator, { round, epoch: signing.epoch, time }, exporter)
    }
    this.#emit({ name: 'proof-wanted', bytes })
  }

  #proof(frame: ProofFrame & { readonly type: 'proof' }): void {
    if (frame.round > this.#asked) throw new StreamViolation('a proof that nobody wanted')
    if (frame.round < this.#asked || this.#theirs.name !== 'asked') return
    const { time, epoch } = frame
    const { schedule } = this.#keys
    if (epoch > schedule.epoch) throw new StreamViolation('a proof for keys that nobody has')
    const exporter = schedule.exporter(epoch)
    if (!exporter) {
      // the keys were renewed twice while it was signed
      this.#ask(this.#theirs.until)
      return
    }
    const signatures = frame.signatures.map(({ fingerprint, signature }) => ({
      fingerprint: Buffer.from(fingerprint),
      signature: Buffer.from(signature),
    }))
    this.#theirs = { name: 'judged' }
    this.#emit({ name: 'proof', bytes: statement(!this.#initiator, frame, exporter), time, signatures })
  }

  #send(frame: UpkeepFrame, wanted: () => boolean): void {
    const bytes = upkeepBytes(frame)
    this.#controls.add({ length: bytes.length, write: (writer) => writer.whole(bytes), wanted })
  }
}

/**
 * What a side signs. It begins like nothing else that its key ever signs: CMS and X.509 begin with the tag of a SET or SEQUENCE.
 * @param initiator whether the signer is
 * @param exporter of the epoch
 */
export function statement(initiator: boolean, { round, epoch, time }: Statement, exporter: Buffer): Buffer {
  const numbers = Buffer.alloc(18)
  numbers.writeUIntBE(round, 0, 6)
  numbers.writeUIntBE(epoch, 6, 6)
  numbers.writeUIntBE(time, 12, 6)
  const label = `plexus 4 tunnel proof ${initiator ? 'initiator' : 'responder'}\0`
  return Buffer.concat([Buffer.from(label), numbers, exporter])
}
