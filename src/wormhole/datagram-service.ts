import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { FlowTable } from './flow-table.js'
import { formatService, type Service } from './service.js'
import { type Surroundings, warnOnce } from './surroundings.js'
import type { TunnelFlow } from './tunnel/index.js'

/** How many datagrams of a flow are kept until its socket is there: the first question, and its repetitions. */
const MOST_EARLY = 16

/** The exporting side of UDP services: a socket of its own for each flow, so that the service can tell them apart. */
export class DatagramService {
  readonly #around: Surroundings
  readonly #flows: FlowTable<TunnelFlow>

  constructor(around: Surroundings) {
    this.#around = around
    this.#flows = new FlowTable(around.clock)
  }

  /** Keeps what comes first, until `serve`. */
  hold(flow: TunnelFlow): Buffer[] {
    const early: Buffer[] = []
    flow.onmessage = (data) => {
      if (early.length < MOST_EARLY) early.push(data)
    }
    return early
  }

  /** Joins a flow with a socket towards the service, until it has been silent for long. */
  async serve(flow: TunnelFlow, service: Service & { kind: 'udp' }, early: readonly Buffer[]): Promise<void> {
    const tell = (what: string) => warnOnce(this.#around, what)
    const { address, family } = await lookup(service.host)
    const socket = await connected(family === 6 ? 'udp6' : 'udp4', service.port, address)
    const ended = this.#around.ledger.begin()
    const close = () => {
      this.#flows.remove(flow)
      flow.onmessage = undefined // what is on its way already must not meet a closed socket
      flow.close()
      socket.close()
      ended()
    }
    socket.on('error', (error) => tell(`${formatService(service)}: ${error.message}`))
    socket.on('message', (data) => {
      this.#flows.touch(flow)
      if (!flow.send(data)) {
        const why =
          data.length > flow.maxPayload ? `is longer than ${flow.maxPayload} bytes` : 'came too fast'
        tell(`a datagram of ${formatService(service)} ${why}: dropped`)
      }
    })
    const forward = (data: Buffer) => {
      this.#flows.touch(flow)
      socket.send(data, () => {}) // what cannot be sent is lost, as on any network
    }
    if (!this.#flows.add(flow, close)) return close()
    void flow.closed.then(() => this.#flows.end(flow))
    for (const data of early) forward(data)
    flow.onmessage = forward
  }

  close(): void {
    this.#flows.close()
  }
}

/** A socket that hears one address alone. */
async function connected(type: 'udp4' | 'udp6', port: number, address: string): Promise<Socket> {
  const socket = createSocket(type)
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.connect(port, address, () => {
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
