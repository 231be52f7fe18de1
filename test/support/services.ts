import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** A TCP service on this machine that a test has to itself. */
export class Service {
  readonly port: number
  readonly taken: Socket[] = []
  readonly #server: Server

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
    server.on('connection', (socket) => this.taken.push(socket))
  }

  static async open(handler: (socket: Socket) => void, port = 0): Promise<Service> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {}) // clients may go as they like
      handler(socket)
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    const at = server.address()
    return new Service(server, typeof at === 'object' && at ? at.port : 0)
  }

  /** One that says back what it hears. */
  static echo(): Promise<Service> {
    return Service.open((socket) => socket.pipe(socket))
  }

  async close(): Promise<void> {
    for (const socket of this.taken) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** All that a socket says until its end; the other direction goes on. Rejects with what the socket fails with. */
export async function text(socket: Socket): Promise<string> {
  const heard: Buffer[] = []
  socket.on('data', (data) => heard.push(data))
  await once(socket, 'end')
  return Buffer.concat(heard).toString()
}

/** Says something on a new connection, ends it, and gives what comes back. */
export async function ask(port: number, words: string | Buffer): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const answer = text(socket)
  socket.end(words)
  return await answer
}

/** The code with which a connection that was expected to fail does so. */
export async function failure(socket: Socket): Promise<string> {
  const [error] = await once(socket.resume(), 'error')
  return String((error as { code?: unknown }).code)
}
