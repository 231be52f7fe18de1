import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** Stands between a client and a server on loopback, counts what passes, and cuts it. */
export class TcpRelay {
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #limit = Number.POSITIVE_INFINITY
  /** Connections made so far, and octets that came from the server in all. */
  connections = 0
  received = 0

  private constructor(server: Server) {
    this.#server = server
  }

  static async open(port: number): Promise<TcpRelay> {
    const server = createServer()
    const relay = new TcpRelay(server)
    server.on('connection', (client) => relay.#join(client, connect(port, '127.0.0.1')))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return relay
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  /** Cuts every connection that is there now. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  /** Cuts the connection over which so many more octets have come from the server; once. */
  cutAfter(octets: number): void {
    this.#limit = this.received + octets
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #join(client: Socket, server: Socket): void {
    this.connections++
    const pair = [client, server] as const
    this.#pairs.add(pair)
    const end = () => {
      this.#pairs.delete(pair)
      for (const socket of pair) socket.destroy()
    }
    for (const socket of pair) socket.on('error', end).on('close', end)
    client.pipe(server)
    server.on('data', (data) => {
      this.received += data.length
      if (this.received < this.#limit) client.write(data)
      else {
        this.#limit = Number.POSITIVE_INFINITY
        end()
      }
    })
  }
}
