import HyperDHT from 'hyperdht'
import { asPlexusError, PlexusError } from '../../src/errors/index.js'
import {
  type Endpoint,
  familyOf,
  formatEndpoint,
  type HostPort,
  type Logger,
  openUdx,
  scopeOf,
  UdpPort,
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
 * Runs a node of your own HyperDHT network. One alone is enough to pair over; several keep each other's
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
  // hyperdht never lets go of what it opened before a bind that fails, so it is tried out first
  try {
    await UdpPort.open(listen).close()
  } catch (cause) {
    const { code, message } = asPlexusError(cause)
    throw new PlexusError(code, message, { advice: 'Choose another address or port with --listen.', cause })
  }
  const dht = HyperDHT.bootstrapper(advertise.port, advertise.address, {
    udx: openUdx(),
    host: listen.address,
    port: listen.port,
    anyPort: false,
    bootstrap: bootstrap.map(({ host, port }) => ({ host, port })),
  })
  await dht.fullyBootstrapped()
  log.info({ endpoint: formatEndpoint(advertise) }, 'DHT node up')
  if (bootstrap.length > 0 && dht.toArray({ limit: 1 }).length === 0)
    log.warn({}, 'no bootstrap node answered: this node is alone until another joins it')
  return { endpoint: advertise, close: () => dht.destroy({ force: true }) }
}
