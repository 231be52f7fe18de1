import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { asPlexusError } from '../errors/index.js'
import { formatEndpoint } from '../net/index.js'
import type { Conduit } from './conduit.js'
import { FlowTable } from './flow-table.js'
import { encodeHeader } from './header.js'
import type { Service } from './service.js'
import { unlistenable } from './stream-import.js'
import { type Surroundings, warnOnce } from './surroundings.js'
import type { Tunnel, TunnelFlow } from './tunnel/index.js'

/** Takes datagrams on this machine: each local source has a flow of its own, and is given what comes back on it. */
export class DatagramImport {
  readonly name: string
  readonly service: Service
  readonly #socket: Socket
  readonly #conduit: Conduit
  readonly #around: Surroundings
  readonly #table: FlowTable<string>
  readonly #flows = new Map<string, TunnelFlow>()

  private constructor(
    name: string,
    service: Service,
    socket: Socket,
    conduit: Conduit,
    around: Surroundings,
  ) {
    this.name = name
    this.service = service
    this.#socket = socket
    this.#conduit = conduit
    this.#around = around
    this.#table = new FlowTable(around.clock)
    socket.on('error', (error) => warnOnce(around, `'${name}': ${error.message}`))
    socket.on('message', (data, from) => this.#take(data, from))
  }

  /** @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
  static async open(
    name: string,
    service: Service & { kind: 'udp' },
    conduit: Conduit,
    around: Surroundings,
  ): Promise<DatagramImport> {
    const socket = createSocket(isIPv6(service.host) ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.bind(service.port, service.host, () => {
          socket.off('error', reject)
          resolve()
        })
      })
    } catch (cause) {
      socket.close()
      throw unlistenable(service, cause)
    }
    const at = { ...service, port: socket.address().port }
    return new DatagramImport(name, at, socket, conduit, around)
  }

  #take(data: Buffer, from: { address: string; port: number }): void {
    if (from.port === 0) return // nobody can be answered there
    const source = formatEndpoint(from)
    const flow = this.#flows.get(source) ?? this.#begin(source, from)
    if (flow === undefined) return // it is lost, as on any network
    this.#table.touch(source)
    if (!flow.send(data) && data.length > flow.maxPayload) {
      warnOnce(this.#around, `a datagram to '${this.name}' is longer than ${flow.maxPayload} bytes: dropped`)
    }
  }

  #begin(source: string, from: { address: string; port: number }): TunnelFlow | undefined {
    const { tunnel } = this.#conduit
    if (tunnel === undefined) {
      this.#conduit.demand()
      return undefined
    }
    const flow = opened(tunnel, encodeHeader({ carries: 'datagrams', name: this.name }))
    if (flow === undefined) return undefined
    const ended = this.#around.ledger.begin()
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
      this.#socket.send(data, from.port, from.address, () => {}) // a source that has gone hears nothing
    }
    void flow.closed.then(() => {
      if (this.#flows.get(source) === flow) this.#table.end(source)
    })
    return flow
  }

  /** Takes no more. Resolves when the port is free. */
  async close(): Promise<void> {
    this.#table.close()
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()))
  }
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
