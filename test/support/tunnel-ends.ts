import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type Logger, silent, UdpPort } from '../../src/net/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { openTunnel, type Tunnel, type TunnelOptions } from '../../src/wormhole/tunnel/index.js'
import { Relay, type RelayWeather } from './relay.js'

/** Two tunnels in this process that speak to each other over the loopback, through a relay if one is asked for. */
export interface TunnelEnds {
  readonly initiator: Tunnel
  readonly responder: Tunnel
  readonly relay: Relay | undefined
  /** The ports that they are bound to. */
  readonly ports: readonly [number, number]
  /** Aborts both. */
  readonly abort: () => void
  close(): Promise<void>
}

export async function tunnelEnds(
  options: {
    weather?: RelayWeather
    log?: Logger
    key?: Buffer
    /** What each has otherwise. */
    each?: (side: 'initiator' | 'responder') => Partial<TunnelOptions>
  } = {},
): Promise<TunnelEnds> {
  const { weather, log = silent, key = randomBytes(32), each = () => ({}) } = options
  const ports = [UdpPort.open({ address: '127.0.0.1' }), UdpPort.open({ address: '127.0.0.1' })] as const
  const [first, second] = ports.map((port) => port.local(4)?.port ?? assert.fail('not bound')) as [
    number,
    number,
  ]
  const relay = weather === undefined ? undefined : await Relay.open(first, second, weather)
  const controller = new AbortController()
  const start = (port: UdpPort, remote: number, initiator: boolean) =>
    openTunnel({
      port,
      initiator,
      remote: { address: '127.0.0.1', port: remote },
      key,
      clock: systemClock,
      random: systemRandom,
      log,
      signal: controller.signal,
      ...each(initiator ? 'initiator' : 'responder'),
    })
  const initiator = start(ports[0], relay?.near ?? second, true)
  const responder = start(ports[1], relay?.far ?? first, false)
  return {
    initiator,
    responder,
    relay,
    ports: [first, second],
    abort: () => controller.abort(),
    async close() {
      await Promise.all([initiator.close(), responder.close()])
      relay?.close()
    },
  }
}
