import type { Carrier } from '../daemon/index.js'
import { asPlexusError, type PlexusError } from '../errors/index.js'
import { type CarryEnd, type Near, type Tunnel, through } from '../wormhole/index.js'

/** One connection to a service of the peer, over the first tunnel that there is: what `--stdio` is. */
export class OneConnection implements Carrier {
  readonly #name: string
  readonly #near: () => Near
  /** Why it came to nothing, if it did. */
  failure: PlexusError | undefined
  readonly wanted = false
  ondemand = () => {}

  /** @param near opens the near end, once the tunnel is up: nothing is read before */
  constructor(name: string, near: () => Near) {
    this.#name = name
    this.#near = near
  }

  async carry(_peer: string, tunnel: Tunnel): Promise<CarryEnd> {
    try {
      await tunnel.ready
      await through(tunnel, this.#name, this.#near())
    } catch (thrown) {
      this.failure = asPlexusError(thrown)
    }
    await tunnel.close()
    return await tunnel.over
  }
}
