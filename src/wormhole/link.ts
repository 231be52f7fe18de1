import type { Duplex } from 'node:stream'
import type { Budget } from '../budget/index.js'
import type { Clock, Logger } from '../net/index.js'
import { Conduit } from './conduit.js'
import { DatagramImport } from './datagram-import.js'
import { Exporter } from './exporter.js'
import { encodeHeader } from './header.js'
import { Hush } from './hush.js'
import type { Router } from './router.js'
import type { Service } from './service.js'
import { StreamImport } from './stream-import.js'
import type { Surroundings } from './surroundings.js'
import type { Tunnel } from './tunnel/index.js'

/** A place on this machine at which a service of the peer is offered. */
export interface Listening {
  /** Where it listens, with the port that the system chose. */
  readonly service: Service
  close(): Promise<void>
}

/** One tunnel, in the hands of a program. */
export class Link {
  readonly tunnel: Tunnel
  readonly #around: Surroundings
  readonly #conduit: Conduit
  readonly #imports = new Set<Listening>()

  /** @param router decides on what the peer opens, from now on */
  constructor(
    tunnel: Tunnel,
    peer: string,
    router: Router,
    { clock, log, budget }: { clock: Clock; log: Logger; budget: Budget },
  ) {
    this.tunnel = tunnel
    this.#around = { clock, log, hush: new Hush(clock), scope: this, budget }
    this.#conduit = new Conduit({ clock, wait: 0, share: budget.share(peer) })
    this.#conduit.attach(tunnel)
    new Exporter(tunnel, peer, { router }, this.#around)
    void tunnel.over.then(() => this.close())
  }

  /** A stream to what the peer has under this name. @throws PlexusError TUNNEL_LOST if the tunnel is over */
  open(name: string): Duplex {
    return this.tunnel.open(encodeHeader({ carries: 'stream', name }))
  }

  /** @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
  async listen(name: string, service: Service): Promise<Listening> {
    const listening =
      service.kind === 'udp'
        ? await DatagramImport.open(name, service, this.#conduit, this.#around)
        : await StreamImport.open(name, service, this.#conduit, this.#around)
    this.#imports.add(listening)
    return listening
  }

  /** Closes the tunnel, and all that listens for it. */
  async close(): Promise<void> {
    const imports = [...this.#imports]
    this.#imports.clear()
    await Promise.all(imports.map((one) => one.close()))
    await this.tunnel.close()
  }
}
