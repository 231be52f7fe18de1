import { asPlexusError } from '../errors/index.js'
import { type Dialect, formatIdentity, type IdentityName, type Repository } from '../identity/index.js'
import type { Logger } from '../net/index.js'

/** Which dialect each peer is spoken with: as its directory in the repository says, else as `--dialect` does. */
export class DialectChoice {
  readonly #repository: Repository
  readonly #general: Dialect
  readonly #log: Logger
  readonly #told = new Set<string>()

  constructor(repository: Repository, general: Dialect, log: Logger) {
    this.#repository = repository
    this.#general = general
    this.#log = log
  }

  /** @throws PlexusError BAD_CONFIG for a setting of the peer that cannot be read */
  async of(peer: IdentityName): Promise<Dialect> {
    return (await this.#repository.dialect(peer)) ?? this.#general
  }

  /**
   * As `of`, for who must go on whatever one directory holds: a setting that cannot be read counts as `native`, which
   * gives nothing up, and is told once for each peer. Never rejects.
   */
  async cautious(peer: IdentityName): Promise<Dialect> {
    try {
      return await this.of(peer)
    } catch (thrown) {
      const { code, message } = asPlexusError(thrown)
      const name = formatIdentity(peer)
      if (!this.#told.has(name))
        this.#log.warn({ code }, `${message} Using the native protocol with ${name}.`)
      this.#told.add(name)
      return 'native'
    }
  }
}
