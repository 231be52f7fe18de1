import HyperDHT from 'hyperdht'
import { PlexusError } from '../../src/errors/index.js'
import {
  type Endpoint,
  familyOf,
  formatEndpoint,
  type HostPort,
  type Logger,
  scopeOf,
} from '../../src/net/index.js'

export interface DhtNodeOptions {
  /** Where it listens: a concrete IPv4 address of this machine, and a port. */
  readonly listen: Endpoint
  /** The address under which others reach it, if that is another one, as on machines in a cloud. */
  readonly advertise?: Endpoint
  /** Nodes of the network that it joins; without any it begins one. */
  readonly bootstrap?: readonly HostPort[]
  readonly log: Logger
}

/** A node of a HyperDHT network. */
export interface DhtNode {
  /** What others give as --dht-bootstrap. */
  readonly endpoint: Endpoint
  close(): Promise<void>
}

/**
 * Runs a node of a HyperDHT network of one's own. One alone is enough to pair over; several keep each other's
 * records when one of them stops. Its address goes into its id, so it must be the one that others send to.
 * @throws PlexusError BAD_ENDPOINT, ADDRESS_IN_USE, ADDRESS_UNAVAILABLE
 */
export async function openDhtNode(options: DhtNodeOptions): Promise<DhtNode> {
  const { listen, advertise = listen, bootstrap = [], log } = options
  for (const endpoint of [listen, advertise]) {
    if (familyOf(endpoint) === 4 && scopeOf(endpoint.address) !== 'unusable' && endpoint.port > 0) continue
    throw new PlexusError('BAD_ENDPOINT', `A DHT node cannot have the address ${formatEndpoint(endpoint)}.`, {
      advice: 'Give --listen the IPv4 address by which other machines reach this one, and a port.',
    })
  }
  const dht = HyperDHT.bootstrapper(advertise.port, advertise.address, {
    host: listen.address,
    port: listen.port,
    anyPort: false,
    bootstrap: bootstrap.map(({ host, port }) => ({ host, port })),
  })
  try {
    await dht.fullyBootstrapped()
  } catch (cause) {
    await dht.destroy({ force: true }).catch(() => {})
    const code = (cause as { code?: unknown }).code
    const unavailable = code === 'EADDRNOTAVAIL'
    throw new PlexusError(
      unavailable ? 'ADDRESS_UNAVAILABLE' : 'ADDRESS_IN_USE',
      unavailable
        ? `${listen.address} is not an address of this machine.`
        : `The UDP port ${formatEndpoint(listen)} cannot be bound (${code ?? cause}).`,
      { advice: 'Choose another address or port with --listen.', cause },
    )
  }
  log.info({ endpoint: formatEndpoint(advertise) }, 'a DHT node is up')
  if (bootstrap.length > 0 && dht.toArray({ limit: 1 }).length === 0)
    log.warn({}, 'none of the bootstrap nodes answered: this node is alone until one joins it')
  return { endpoint: advertise, close: () => dht.destroy({ force: true }) }
}
