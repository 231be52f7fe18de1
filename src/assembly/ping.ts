import { type PingOptions, type PingReport, runPing } from '../daemon/index.js'
import { PlexusError } from '../errors/index.js'
import { type IdentityName, Repository } from '../identity/index.js'
import { openStateFolder } from '../place/index.js'
import { Carriage } from './carriage.js'
import { resolveHost, resolveNamed } from './named.js'
import type { Outside } from './outside.js'
import { type Assembled, assemble, stateOwner } from './session.js'
import type { Named, PairingSettings } from './settings.js'

/** A try of the way to one peer. Its calls, in this order: `open`, `run` once, `close`. */
export class Ping {
  readonly peer: IdentityName
  readonly #session: Assembled
  readonly #carried: Carried

  private constructor(peer: IdentityName, session: Assembled, carried: Carried) {
    this.peer = peer
    this.#session = session
    this.#carried = carried
  }

  /**
   * @param named the peer
   * @throws PlexusError for what is wrong with this machine, DIALECT for a peer that knows no ping, and what the
   *   rendezvous throws; then nothing is left open
   */
  static async open(settings: PairingSettings, named: Named, outside: Outside): Promise<Ping> {
    const { app, state } = settings
    const repository = await Repository.open(settings.repository)
    const peer = await resolveNamed(repository, named)
    const name = await resolveHost(repository, settings.host)
    const dialect = (await repository.dialect(peer)) ?? settings.dialect.language
    if (dialect === 'plexus-3') {
      throw new PlexusError('DIALECT', 'A plexus 3.x peer does not support ping.', {
        advice: 'Pair with it instead, or use --dialect=native if it supports that too.',
      })
    }
    const host = await repository.host(name)
    await repository.certificate(peer, { host: name, date: outside.clock.date() })
    const directory = await openStateFolder(state, stateOwner(app, name))
    const carried: Carried = { tell: () => {} }
    const session = await assemble(settings, { repository, host, directory }, outside, {
      each: (inner) => new Carriage(inner, (by) => carried.tell(by)),
    })
    return new Ping(peer, session, carried)
  }

  /**
   * Pairs, sends the echoes, and lets go of the hole.
   * @param options.carried hears the name of a rendezvous at each message that it carried to this session
   * @throws PlexusError if the pairing fails, or the signal's reason
   */
  async run({ carried, ...options }: PingOptions & { carried: (by: string) => void }): Promise<PingReport> {
    this.#carried.tell = carried
    return await runPing(this.#session.context, this.peer, options)
  }

  /** Says what is still to be said, and lets go of everything. */
  close(): Promise<void> {
    return this.#session.close()
  }
}

/** Who hears which rendezvous carries. */
interface Carried {
  tell: (by: string) => void
}
