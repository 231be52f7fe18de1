import type { PlexusError } from '../../errors/index.js'
import type { TunnelReading } from '../../watch/index.js'
import type { TunnelStream } from './duplex.js'
import type { TunnelFlow } from './flow.js'

/** Why a tunnel is over: closed here or there; nothing authentic came for 10 s; or it broke. */
export interface TunnelOver {
  readonly kind: 'closed' | 'peer-closed' | 'dead' | 'failed'
  readonly error?: PlexusError
}

export interface TunnelStats extends TunnelReading {
  /** Monotonic ms at which the peer had proven itself; the start before that. */
  readonly since: number
}

/** An encrypted tunnel to one peer over one UDP port. */
export interface Tunnel {
  /**
   * Resolves when the peer has proven that it has the key. Rejects with TUNNEL_SILENT after 10 s, or when the tunnel is
   * over before.
   */
  readonly ready: Promise<void>
  /** Resolves, and never rejects, when the tunnel is over and its port closed. */
  readonly over: Promise<TunnelOver>
  /**
   * Opens a stream; what is written goes out at once, with the header.
   * @param header at most 512 bytes
   * @throws PlexusError TUNNEL_LOST once the tunnel is over, BUSY if there is no memory for more
   */
  open(header: Uint8Array): TunnelStream
  /** Takes the streams that the peer opens. Those that come before a handler is there wait for it, a minute at most. */
  onstream(handler: (stream: TunnelStream, header: Uint8Array) => void): void
  /** Opens a flow of datagrams. @throws as `open` */
  openFlow(header: Uint8Array): TunnelFlow
  onflow(handler: (flow: TunnelFlow, header: Uint8Array) => void): void
  stats(): TunnelStats
  /** Breaks off what is open, tells the peer, and closes the port. */
  close(reason?: string): Promise<void>
}
