import { asPlexusError, type PlexusError } from '../../errors/index.js'
import type { Clock, Logger } from '../../net/index.js'
import type { ProofEvent } from './proofs.js'
import type { ProofSignature } from './upkeep-frame.js'
import type { Witness } from './witness.js'

/** An identity that could not be proven is tried again after this long, in ms: a disk may be away for a moment. */
const AGAIN = 15_000

/** A proof that was made so much earlier or later by this side's clock, in ms, is worth a warning: pairing would fail. */
const CLOCKS_APART = 15 * 60_000

/** What six bytes can say, in ms since 1970-01-01 UTC: a clock may be anywhere. */
const LATEST = 2 ** 48 - 1

/** What comes of it: for the tunnel. */
export interface WitnessingHost {
  signed(time: number, signatures: readonly ProofSignature[]): void
  judged(): void
  failed(error: PlexusError): void
}

/** Has the proofs of one tunnel signed and judged, which takes its time. */
export class Witnessing {
  readonly #witness: Witness
  readonly #host: WitnessingHost
  readonly #clock: Clock
  readonly #log: Logger
  #state: 'open' | 'over' = 'open'
  readonly #cancels = { sign: () => {}, judge: () => {} }

  constructor(
    witness: Witness,
    host: WitnessingHost,
    options: { readonly clock: Clock; readonly log: Logger },
  ) {
    this.#witness = witness
    this.#host = host
    this.#clock = options.clock
    this.#log = options.log
  }

  /** Never rejects. */
  async handle(event: ProofEvent): Promise<void> {
    if (event.name === 'proof-wanted') await this.#sign(event.bytes)
    else await this.#judge(event)
  }

  /** The tunnel is over: nothing is told any more. */
  close(): void {
    this.#state = 'over'
    this.#cancels.sign()
    this.#cancels.judge()
  }

  async #sign(bytes: (time: number) => Buffer): Promise<void> {
    const time = Math.min(LATEST, Math.max(0, Math.floor(this.#clock.date())))
    try {
      const signatures = await this.#witness.sign(bytes(time))
      if (this.#state === 'over') return
      this.#host.signed(time, signatures)
      this.#log.debug({}, 'tunnel: proved your identity again to the peer')
    } catch (thrown) {
      if (this.#state === 'over') return
      const { code, message } = asPlexusError(thrown)
      this.#log.warn({ code }, `your identity cannot be proven again to the peer: ${message} Retrying.`)
      this.#cancels.sign = this.#clock.timer(AGAIN, () => void this.#sign(bytes))
    }
  }

  async #judge(event: ProofEvent & { readonly name: 'proof' }): Promise<void> {
    const verdict = await this.#witness.judge(event.bytes, event.signatures)
    if (this.#state === 'over') return
    if (verdict.is === 'bad') return this.#host.failed(verdict.error)
    if (verdict.is === 'unclear') {
      const { code, message } = verdict.error
      this.#log.warn({ code }, `the peer's identity cannot be checked again: ${message} Retrying.`)
      this.#cancels.judge = this.#clock.timer(AGAIN, () => void this.#judge(event))
      return
    }
    const apart = event.time - this.#clock.date()
    // what was signed is of this moment, whatever the clocks say
    if (Math.abs(apart) > CLOCKS_APART) {
      const minutes = Math.round(Math.abs(apart) / 60_000)
      const how = `The peer's clock is ${minutes} min ${apart > 0 ? 'ahead of' : 'behind'} this one`
      this.#log.warn({ code: 'CLOCK' }, `${how}: the next pairing will fail. Correct the wrong one.`)
    }
    this.#host.judged()
    this.#log.info({}, 'the peer has proven its identity again')
  }
}
