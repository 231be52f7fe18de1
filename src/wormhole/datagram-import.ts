import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { asPlexusError } from '../errors/index.js'
import { formatEndpoint } from '../net/index.js'
import type { Conduit } from './conduit.js'
import { tellOpened } from './connection.js'
import { FlowTable } from './flow-table.js'
import { encodeHeader } from './header.js'
import { openAtAll } from './local-addresses.js'
import type { Service } from './service.js'
import { unlistenable } from './stream-import.js'
import { type Surroundings, warnOnce } from './surroundings.js'
import type { Tunnel, TunnelFlow } from './tunnel/index.js'

/** Takes datagrams on this machine: each local source has a flow of its own, and is given what comes back on it. */
export class DatagramImport {
  readonly name: string
  readonly service: Service
  /** One for each address of the host. */
  readonly #sockets: readonly Socket[]
  readonly #conduit: Conduit
  readonly #around: Surroundings
  readonly #table: FlowTable<string>
  readonly #flows = new Map<string, TunnelFlow>()

  private constructor(
    name: string,
    service: Service,
    sockets: readonly Socket[],
    conduit: Conduit,
    around: Surroundings,
  ) {
    this.name = name
    this.service = service
    this.#sockets = sockets
    this.#conduit = conduit
    this.#around = around
    this.#table = new FlowTable(around.clock)
    for (const socket of sockets) {
      socket.on('error', (error) => warnOnce(around, `'${name}': ${error.message}`))
      socket.on('message', (data, from) => this.#take(socket, data, from))
    }
  }

  /** @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
  static async open(
    name: string,
    service: Service & { kind: 'udp' },
    conduit: Conduit,
    around: Surroundings,
  ): Promise<DatagramImport> {
    try {
      const sockets = await openAtAll(service, bound, (socket) => socket.address().port, closing)
      const at = { ...service, port: sockets[0]?.address().port ?? service.port }
      return new DatagramImport(name, at, sockets, conduit, around)
    } catch (cause) {
      throw unlistenable(service, cause)
    }
  }

  #take(socket: Socket, data: Buffer, from: { address: string; port: number }): void {
    if (from.port === 0) return // nobody can be answered there
    const source = formatEndpoint(from)
    const flow = this.#flows.get(source) ?? this.#begin(socket, source, from)
    if (flow === undefined) return // it is lost, as on any network
    this.#table.touch(source)
    if (!flow.send(data) && data.length > flow.maxPayload) {
      warnOnce(this.#around, `a datagram to '${this.name}' is longer than ${flow.maxPayload} bytes: dropped`)
    }
  }

  #begin(socket: Socket, source: string, from: { address: string; port: number }): TunnelFlow | undefined {
    const { tunnel } = this.#conduit
    if (tunnel === undefined) {
      this.#conduit.demand()
      return undefined
    }
    const flow = opened(tunnel, encodeHeader({ carries: 'datagrams', name: this.name }))
    if (flow === undefined) return undefined
    const ended = tellOpened(this.#around, { direction: 'out', service: this.name, carries: 'datagrams' })
    const close = () => {
      this.#flows.delete(source)
      flow.onmessage = undefined // what is on its way already must not meet a closed socket
      flow.close()
      ended()
    }
    this.#flows.set(source, flow)
    this.#table.add(source, close)
    flow.onmessage = (data) => {
      this.#table.touch(source)
      socket.send(data, from.port, from.address, () => {}) // a source that has gone hears nothing
    }
    void flow.closed.then(() => {
      if (this.#flows.get(source) === flow) this.#table.end(source)
    })
    return flow
  }

  /** Takes no more. Resolves when the port is free. */
  async close(): Promise<void> {
    this.#table.close()
    await Promise.all(this.#sockets.map(closing))
  }
}

/** A socket at an address of this machine. @throws the system's error */
async function bound(address: string, port: number): Promise<Socket> {
  const socket = createSocket(isIPv6(address) ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind(port, address, () => {
        socket.off('error', reject)
        resolve()
      })
    })
    return socket
  } catch (thrown) {
    socket.close()
    throw thrown
  }
}

function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()))
}

/** A flow; undefined if the tunnel ends at this moment, and another has not taken its place yet. */
function opened(tunnel: Tunnel, header: Buffer): TunnelFlow | undefined {
  try {
    return tunnel.openFlow(header)
  } catch (thrown) {
    if (asPlexusError(thrown).code === 'TUNNEL_LOST') return undefined
    throw thrown
  }
}
