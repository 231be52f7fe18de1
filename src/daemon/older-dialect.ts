import { Digests, LetterAccepter, type Plexus3Passage } from '../dialect/index.js'
import { asPlexusError } from '../errors/index.js'
import { keyless, wantsKey } from '../exec/index.js'
import type { Host } from '../identity/index.js'
import type { Accepter, PairingContext, Refused } from '../pairing/index.js'
import type { AccepterSettings, DialectSettings } from './settings.js'

/** What an accepter hears of plexus 3.x peers, as far as its rendezvous carries their mail. */
export class OlderDialect {
  readonly #accepter: LetterAccepter
  readonly #digests: Digests
  readonly #log: PairingContext['log']

  private constructor(accepter: LetterAccepter, digests: Digests, log: PairingContext['log']) {
    this.#accepter = accepter
    this.#digests = digests
    this.#log = log
  }

  /**
   * @param accepter whose bounds hold for these sessions too
   * @returns nothing where no such mail can come
   * @throws PlexusError STATE_DIRECTORY
   */
  static async open(
    { context, dialect, command, peers }: AccepterSettings & { readonly dialect?: DialectSettings },
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
    return new OlderDialect(new LetterAccepter(context, options), digests, context.log)
  }

  adopt(host: Host): void {
    this.#accepter.adopt(host)
  }

  /** Until the signal aborts. Never rejects: the native language is not to suffer. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#accepter.run(signal).catch((thrown: unknown) => {
      const { code, message } = asPlexusError(thrown)
      this.#log.error({ code }, `plexus 3.x peers are not heard any more: ${message}`)
    })
  }

  /** Once `run` has ended. */
  async close(): Promise<void> {
    await this.#digests.close()
  }
}
