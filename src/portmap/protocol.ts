import type { Clock, Endpoint, Logger, Random } from '../net/index.js'
import type { Gateway } from './gateway.js'

/** How port mappings are asked for. */
export type ProtocolName = 'PCP' | 'NAT-PMP' | 'UPnP'

/** The lifetime of a mapping that a router holds until it is told otherwise. */
export const PERMANENT = Number.POSITIVE_INFINITY

/** What a router has granted. */
export interface Lease {
  /** Where the router takes packets for the internal port. */
  readonly external: Endpoint
  /** How long it stands without renewal, in seconds; or `PERMANENT`. */
  readonly lifetime: number
}

/** One router that speaks one protocol. */
export interface Mapper {
  readonly protocol: ProtocolName
  /**
   * Asks for a mapping of a UDP port of this machine, or for a longer life of one that stands.
   * @param wanted the external port that would be best
   * @param lifetime in seconds
   * @throws PlexusError PORT_MAPPING if the router declines or does not answer, or the signal's reason
   */
  map(port: number, wanted: number, lifetime: number, signal: AbortSignal): Promise<Lease>
  /**
   * Gives back all that the router may hold for the port because of this mapper: what it granted, and what it was asked for
   * when nobody waited for the answer any more. Resolves at once if that is nothing.
   * @throws PlexusError PORT_MAPPING if the router declines or does not answer, or the signal's reason
   */
  unmap(port: number, signal: AbortSignal): Promise<void>
}

/** What every protocol needs. */
export interface MapperContext {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly gateway: Gateway
}
