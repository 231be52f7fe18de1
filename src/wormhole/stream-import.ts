import { lstatSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import { asPlexusError, codeOf, PlexusError } from '../errors/index.js'
import { knock } from '../net/index.js'
import type { Conduit } from './conduit.js'
import { tellFailed, tellOpened } from './connection.js'
import { SOCKET_OPTIONS } from './dial.js'
import { encodeHeader } from './header.js'
import { intakeOf } from './intake.js'
import { openAtAll } from './local-addresses.js'
import { nearSocket } from './near.js'
import { formatService, type Service } from './service.js'
import { splice } from './splice.js'
import { type Surroundings, takeShare, warnOnce } from './surroundings.js'

/** How many connections one import has at a time: each holds a descriptor and some buffers. */
const MOST_CONNECTIONS = 4096

/** A unix socket is for the user who made it alone. */
const PRIVATE = 0o177

/** Listens on this machine, and has the peer connect to the service of the name for each connection. */
export class StreamImport {
  readonly name: string
  /** Where it listens, with the port that the system chose. */
  readonly service: Service
  /** One for each address of the host. */
  readonly #servers: readonly Server[]
  readonly #conduit: Conduit
  readonly #around: Surroundings
  readonly #sockets = new Set<Socket>()

  private constructor(
    name: string,
    service: Service,
    servers: readonly Server[],
    conduit: Conduit,
    around: Surroundings,
  ) {
    this.name = name
    this.service = service
    this.#servers = servers
    this.#conduit = conduit
    this.#around = around
    // no more descriptors, for one: those that are connected go on, and so do those that come later
    for (const server of servers) {
      server.on('error', (error) =>
        warnOnce(around, `a connection to '${name}' could not be accepted: ${asPlexusError(error).message}`),
      )
      server.on('connection', (socket) => void this.#serve(socket))
    }
  }

  /** @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
  static async open(
    name: string,
    service: Exclude<Service, { kind: 'udp' }>,
    conduit: Conduit,
    around: Surroundings,
  ): Promise<StreamImport> {
    if (service.kind === 'unix') await removeStale(service.path)
    const servers = await listening(service)
    const port = portOf(servers[0])
    const at = service.kind === 'tcp' && port !== undefined ? { ...service, port } : service
    return new StreamImport(name, at, servers, conduit, around)
  }

  async #serve(socket: Socket): Promise<void> {
    const { log } = this.#around
    const near = nearSocket(socket)
    socket.on('error', () => {}) // its end is told by 'close', to whoever has it
    if (this.#sockets.size >= MOST_CONNECTIONS) {
      warnOnce(this.#around, `more than ${MOST_CONNECTIONS} connections to '${this.name}': closing more`)
      return near.abort()
    }
    const { share } = this.#conduit
    const taken = takeShare(this.#around, share, { descriptors: 1 })
    if (taken.kind === 'refused') {
      tellFailed(this.#around, { direction: 'out', service: this.name })
      return near.abort()
    }
    socket.once('close', () => taken.giveBack())
    this.#sockets.add(socket)
    const ended = tellOpened(this.#around, { direction: 'out', service: this.name, carries: 'stream' })
    const gone = new AbortController()
    const onclose = () => gone.abort(new PlexusError('STREAM_RESET', 'The connection was closed.'))
    socket.once('close', onclose)
    try {
      const tunnel = await this.#conduit.through(gone.signal)
      const stream = tunnel.open(encodeHeader({ carries: 'stream', name: this.name }))
      const end = await splice(near, stream, intakeOf(tunnel, this.#around.clock))
      if (end.kind === 'ended') return
      if (end.by === 'near') return log.debug({}, `a connection to '${this.name}' was closed locally`)
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
    const sentence = `a connection to '${this.name}' was reset: ${error.message}`
    // a reset in the middle of a connection is what programs do; that a service is not there, people want to know
    if (error.code === 'STREAM_RESET') {
      this.#around.log.debug({}, sentence)
      return
    }
    tellFailed(this.#around, { direction: 'out', service: this.name })
    // the sentence may be of the peer
    warnOnce(this.#around, `${sentence} [${error.code}]`, `${this.name} ${error.code}`)
  }

  /** Listens no more, and cuts off what is connected. Resolves when all is closed. */
  async close(): Promise<void> {
    const closed = this.#servers.map(closing)
    for (const socket of this.#sockets) nearSocket(socket).abort()
    await Promise.all(closed)
  }
}

/** A server at the path, or at each address of the host. @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
async function listening(service: Exclude<Service, { kind: 'udp' }>): Promise<Server[]> {
  try {
    if (service.kind === 'unix') return [await listeningAt({ path: service.path })]
    return await openAtAll(
      service,
      (host, port) => listeningAt({ host, port, ipv6Only: true }),
      (server) => portOf(server) ?? 0,
      closing,
    )
  } catch (cause) {
    throw unlistenable(service, cause)
  }
}

async function listeningAt(at: ListenOptions): Promise<Server> {
  const server = createServer({ ...SOCKET_OPTIONS, pauseOnConnect: true, highWaterMark: 0 })
  const before = at.path === undefined ? undefined : process.umask(PRIVATE)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(at, () => {
      server.off('error', reject)
      resolve()
    })
    // the socket was made, with its mode, before `listen` came back
    if (before !== undefined) process.umask(before)
  })
  return server
}

function portOf(server: Server | undefined): number | undefined {
  const bound = server?.address()
  return typeof bound === 'object' && bound ? bound.port : undefined
}

function closing(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

/** Why a local address cannot be listened at. */
export function unlistenable(service: Service, cause: unknown): PlexusError {
  const code = codeOf(cause)
  const at = formatService(service)
  if (code === 'EADDRINUSE') {
    return new PlexusError('ADDRESS_IN_USE', `Another program is already listening at ${at}.`, {
      advice: 'Choose another port or path, or stop that program.',
      cause,
    })
  }
  return new PlexusError('ADDRESS_UNAVAILABLE', `Cannot listen at ${at} (${code ?? cause}).`, {
    advice: 'Use an address of this machine, and a port or path that this user may use.',
    cause,
  })
}

/** A socket that a killed program left behind is in the way of the next one: nobody answers there. */
async function removeStale(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket()) return
  } catch {
    return // what is wrong with the path, listening there says
  }
  if ((await knock(path)) !== 'ECONNREFUSED') return
  await rm(path, { force: true }).catch(() => {}) // then listening fails, with the reason
}
