import { lstatSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { asPlexusError, PlexusError } from '../errors/index.js'
import type { Conduit } from './conduit.js'
import { SOCKET_OPTIONS } from './dial.js'
import { encodeHeader } from './header.js'
import { nearSocket } from './near.js'
import { formatService, type Service } from './service.js'
import { splice } from './splice.js'
import { type Surroundings, warnOnce } from './surroundings.js'

/** How many connections one import has at a time: each holds a descriptor and some buffers. */
const MOST_CONNECTIONS = 4096

/** A unix socket is for the user who made it alone. */
const PRIVATE = 0o177

/** Listens on this machine, and has the peer connect to the service of the name for each connection. */
export class StreamImport {
  readonly name: string
  /** Where it listens, with the port that the system chose. */
  readonly service: Service
  readonly #server: Server
  readonly #conduit: Conduit
  readonly #around: Surroundings
  readonly #sockets = new Set<Socket>()

  private constructor(
    name: string,
    service: Service,
    server: Server,
    conduit: Conduit,
    around: Surroundings,
  ) {
    this.name = name
    this.service = service
    this.#server = server
    this.#conduit = conduit
    this.#around = around
    // no more descriptors, for one: those that are connected go on, and so do those that come later
    server.on('error', (error) =>
      warnOnce(around, `a connection to '${name}' could not be taken: ${error.message}`),
    )
    server.on('connection', (socket) => void this.#serve(socket))
  }

  /** @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
  static async open(
    name: string,
    service: Exclude<Service, { kind: 'udp' }>,
    conduit: Conduit,
    around: Surroundings,
  ): Promise<StreamImport> {
    if (service.kind === 'unix') await removeStale(service.path)
    const server = createServer({ ...SOCKET_OPTIONS, pauseOnConnect: true, highWaterMark: 0 })
    await listening(server, service)
    const bound = server.address()
    const at =
      service.kind === 'tcp' && typeof bound === 'object' && bound
        ? { ...service, port: bound.port }
        : service
    return new StreamImport(name, at, server, conduit, around)
  }

  async #serve(socket: Socket): Promise<void> {
    const { ledger, log } = this.#around
    const near = nearSocket(socket)
    socket.on('error', () => {}) // its end is told by 'close', to whoever has it
    if (this.#sockets.size >= MOST_CONNECTIONS) {
      warnOnce(
        this.#around,
        `more than ${MOST_CONNECTIONS} connections to '${this.name}': the next ones are cut off`,
      )
      return near.abort()
    }
    this.#sockets.add(socket)
    const ended = ledger.begin()
    const gone = new AbortController()
    const onclose = () => gone.abort(new PlexusError('STREAM_RESET', 'The connection was closed.'))
    socket.once('close', onclose)
    try {
      const tunnel = await this.#conduit.through(gone.signal)
      const stream = tunnel.open(encodeHeader({ carries: 'stream', name: this.name }))
      const end = await splice(near, stream)
      if (end.kind === 'ended') return
      if (end.by === 'near') return log.debug({}, `a connection to '${this.name}' was cut off here`)
      this.#failed(end.error)
    } catch (thrown) {
      near.abort()
      if (!gone.signal.aborted) this.#failed(asPlexusError(thrown))
    } finally {
      socket.off('close', onclose)
      this.#sockets.delete(socket)
      ended()
    }
  }

  #failed(error: PlexusError): void {
    const sentence = `a connection to '${this.name}' was cut off: ${error.message}`
    // a reset in the middle of a connection is what programs do; that a service is not there, people want to know
    if (error.code === 'STREAM_RESET') {
      this.#around.log.debug({}, sentence)
      return
    }
    this.#around.ledger.failed++
    // the sentence may be of the peer
    warnOnce(this.#around, `${sentence} [${error.code}]`, `${this.name} ${error.code}`)
  }

  /** Listens no more, and cuts off what is connected. Resolves when all is closed. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) nearSocket(socket).abort()
    await closed
  }
}

/** @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
async function listening(server: Server, service: Exclude<Service, { kind: 'udp' }>): Promise<void> {
  const before = service.kind === 'unix' ? process.umask(PRIVATE) : undefined
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      const onlistening = () => {
        server.off('error', reject)
        resolve()
      }
      if (service.kind === 'unix') server.listen({ path: service.path }, onlistening)
      else server.listen({ host: service.host, port: service.port }, onlistening)
      // the socket was made, with its mode, before `listen` came back
      if (before !== undefined) process.umask(before)
    })
  } catch (cause) {
    throw unlistenable(service, cause)
  }
}

/** Why a local address cannot be listened at. */
export function unlistenable(service: Service, cause: unknown): PlexusError {
  const { code } = cause as { code?: unknown }
  const at = formatService(service)
  if (code === 'EADDRINUSE') {
    return new PlexusError('ADDRESS_IN_USE', `Another program listens at ${at} already.`, {
      advice: 'Choose another port or path, or stop that program.',
      cause,
    })
  }
  return new PlexusError('ADDRESS_UNAVAILABLE', `Nothing can listen at ${at} (${code ?? cause}).`, {
    advice: 'Name an address of this machine, and a port or path that this user may have.',
    cause,
  })
}

/** A socket that a killed program left behind is in the way of the next one: nobody answers there. */
async function removeStale(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return
  const refused = await new Promise<boolean>((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', (error) => resolve((error as { code?: unknown }).code === 'ECONNREFUSED'))
  })
  if (refused) rmSync(path, { force: true })
}
