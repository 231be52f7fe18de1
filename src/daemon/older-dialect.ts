import { Digests, type LetterAccepter, openLetterAccepter, type Plexus3Passage } from '../dialect/index.js'
import { asPlexusError } from '../errors/index.js'
import { keyless, wantsKey } from '../exec/index.js'
import type { Host } from '../identity/index.js'
import { sleep } from '../net/index.js'
import type { Accepter, PairingContext, Refused } from '../pairing/index.js'
import type { AccepterSettings } from './settings.js'

/** How long after mail could not be received it is tried again, in ms: the rendezvous itself bears every lost connection. */
const RETRY = 30_000

/** What an accepter hears of plexus 3.x peers, as far as its rendezvous carries their mail. */
export class OlderDialect {
  readonly #accepter: LetterAccepter
  readonly #digests: Digests
  readonly #context: PairingContext
  #running: Promise<void> = Promise.resolve()

  private constructor(accepter: LetterAccepter, digests: Digests, context: PairingContext) {
    this.#accepter = accepter
    this.#digests = digests
    this.#context = context
  }

  /**
   * @param accepter whose bounds hold for these sessions too
   * @returns nothing where no such mail can come
   * @throws PlexusError STATE_DIRECTORY
   */
  static async open(
    { context, dialect, command, peers }: AccepterSettings,
    accepter: Accepter,
    onPassage: (passage: Plexus3Passage) => void,
  ): Promise<OlderDialect | undefined> {
    if (dialect === undefined || context.rendezvous.letters === undefined) return undefined
    const digests = await Digests.open(dialect.directory, context)
    const admit = (): Refused | undefined =>
      command && wantsKey(command) ? { code: 'REFUSED', sentence: keyless().message } : undefined
    const { choice, natives, allowPlain } = dialect
    const more = peers ? { peers } : {}
    const options = { accepter, choice, natives, digests, allowPlain, admit, onPassage, ...more }
    return new OlderDialect(await openLetterAccepter(context, options), digests, context)
  }

  adopt(host: Host): void {
    this.#accepter.adopt(host)
  }

  /** Receives until the signal aborts. What fails is told and tried again: the native language is not to suffer. */
  run(signal: AbortSignal): void {
    this.#running = this.#receive(signal)
  }

  async #receive(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#context
    while (!signal.aborted) {
      try {
        await this.#accepter.run(signal)
      } catch (thrown) {
        const { code, message } = asPlexusError(thrown)
        log.warn({ code }, `not listening to plexus 3.x peers for ${RETRY / 1000} s: ${message}`)
      }
      await sleep(clock, RETRY, signal).catch(() => {})
    }
  }

  /** Waits until nothing is received any more, after the signal has aborted. */
  async close(): Promise<void> {
    await this.#running
    await this.#digests.close()
  }
}
