import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { tellOpened } from './connection.js'
import { FlowTable } from './flow-table.js'
import { addressesOf } from './local-addresses.js'
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

  /**
   * Joins a flow with a socket towards the service, until it has been silent for long. Of several addresses, as `localhost`
   * has, it is the first that does not refuse what was sent before anything came from there.
   */
  async serve(
    flow: TunnelFlow,
    name: string,
    service: Service & { kind: 'udp' },
    early: readonly Buffer[],
  ): Promise<void> {
    const tell = (what: string) => warnOnce(this.#around, what)
    const addresses = [...(await addressesOf(service.host))]
    let socket = await firstConnected(addresses, service.port)
    /** What to say again at the next address. */
    let unanswered: Buffer[] | undefined = addresses.length > 0 ? [] : undefined
    const ended = tellOpened(this.#around, { direction: 'in', service: name, carries: 'datagrams' })
    const close = () => {
      this.#flows.remove(flow)
      flow.onmessage = undefined // what is on its way already must not meet a closed socket
      flow.close()
      socket.close()
      ended()
    }
    const listen = () => {
      socket.on('error', (error) => void refused(error))
      socket.on('message', answered)
    }
    const refused = async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNREFUSED' || unanswered === undefined) {
        tell(`${formatService(service)}: ${error.message}`)
        return
      }
      const again = unanswered
      unanswered = undefined // one move at a time
      const next = await firstConnected(addresses, service.port).catch(() => undefined)
      if (!next) return tell(`${formatService(service)}: ${error.message}`)
      if (flow.onmessage === undefined) return void next.close()
      socket.removeAllListeners('error').on('error', () => {})
      socket.close()
      socket = next
      unanswered = addresses.length > 0 ? [] : undefined
      listen()
      for (const data of again) forward(data)
    }
    const answered = (data: Buffer) => {
      unanswered = undefined
      this.#flows.touch(flow)
      if (!flow.send(data)) {
        const why =
          data.length > flow.maxPayload ? `is longer than ${flow.maxPayload} bytes` : 'came too fast'
        tell(`a datagram of ${formatService(service)} ${why}: dropped`)
      }
    }
    const forward = (data: Buffer) => {
      this.#flows.touch(flow)
      if (unanswered && unanswered.length < MOST_EARLY) unanswered.push(data)
      socket.send(data, () => {}) // what cannot be sent is lost, as on any network
    }
    if (!this.#flows.add(flow, close)) return close()
    void flow.closed.then(() => this.#flows.end(flow))
    listen()
    flow.onmessage = forward
    for (const data of early) forward(data)
  }

  close(): void {
    this.#flows.close()
  }
}

/** A socket to the first of the addresses that there is a way to; those up to it are taken out. @throws the system's error */
async function firstConnected(addresses: string[], port: number): Promise<Socket> {
  for (;;) {
    const address = addresses.shift() ?? ''
    try {
      return await connected(isIPv6(address) ? 'udp6' : 'udp4', port, address)
    } catch (thrown) {
      if (addresses.length === 0) throw thrown
    }
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
