import type { Share } from '../budget/index.js'
import { asPlexusError, PlexusError } from '../errors/index.js'
import { broadController } from '../net/index.js'
import { tellFailed, tellOpened } from './connection.js'
import { DatagramService } from './datagram-service.js'
import { dial } from './dial.js'
import { decodeHeader, type Header } from './header.js'
import { type Intake, intakeOf } from './intake.js'
import { answerNames } from './names.js'
import { nearSocket } from './near.js'
import type { Router } from './router.js'
import { costOf, formatService, lingersOf } from './service.js'
import { splice } from './splice.js'
import { type Surroundings, takeShare, warnOnce } from './surroundings.js'
import type { StreamResetCode, Tunnel, TunnelFlow, TunnelStream } from './tunnel/index.js'
import { turnsOf } from './turns.js'

/** How many connections one tunnel may have open at this side: each holds a descriptor and some buffers. */
const MOST_CONNECTIONS = 4096

/** One side of a tunnel as the one that is asked: dials a service for each stream and flow that the peer opens. */
export class Exporter {
  readonly #router: Router
  /** What the peer may use, where that is a list. */
  readonly #names: () => readonly string[] | undefined
  readonly #peer: string
  /** What the peer may use here, over all of its tunnels. */
  readonly #share: Share
  readonly #around: Surroundings
  readonly #over = broadController()
  readonly #datagrams: DatagramService
  readonly #intake: Intake
  #open = 0

  /** Takes what the peer opens from now on, until the tunnel is over. */
  constructor(
    tunnel: Tunnel,
    peer: string,
    { router, names }: { readonly router: Router; readonly names?: () => readonly string[] | undefined },
    around: Surroundings,
  ) {
    this.#router = router
    this.#names = names ?? (() => undefined)
    this.#peer = peer
    this.#share = around.budget.share(peer)
    this.#around = around
    this.#datagrams = new DatagramService(around)
    this.#intake = intakeOf(tunnel, around.clock)
    tunnel.onstream((stream, header) => this.#inTurn(stream, header))
    tunnel.onflow((flow, header) => this.#flowInTurn(flow, header))
    void tunnel.over.then(() => {
      this.#over.abort(new PlexusError('TUNNEL_LOST', 'The tunnel is over.'))
      this.#datagrams.close()
    })
  }

  #inTurn(stream: TunnelStream, header: Uint8Array): void {
    stream.on('error', () => {}) // whoever joins it listens; before that its end is told by 'close'
    let giveUp = () => {}
    const onclose = () => giveUp()
    stream.once('close', onclose)
    giveUp = turnsOf(this.#around.clock).take(this.#peer, () => {
      stream.off('close', onclose)
      void this.#serve(stream, header)
    })
  }

  async #serve(stream: TunnelStream, header: Uint8Array): Promise<void> {
    const { log } = this.#around
    const wanted = decodeHeader(header)
    const names = wanted?.carries === 'names' ? this.#names() : undefined
    if (names) return answerNames(stream, names)
    if (wanted?.carries !== 'stream') return stream.reset('SERVICE_UNKNOWN', 'Unknown header.')
    if (this.#open >= MOST_CONNECTIONS) {
      warnOnce(this.#around, `more than ${MOST_CONNECTIONS} connections through one tunnel: refusing more`)
      return stream.reset('SERVICE_UNREACHABLE', `The tunnel has ${MOST_CONNECTIONS} connections already.`)
    }
    this.#open++
    const { name } = wanted
    const ended = tellOpened(this.#around, { direction: 'in', service: name, carries: 'stream' })
    try {
      const route = await this.#router({ ...wanted, peer: this.#peer })
      if (stream.destroyed) return
      if (route.kind === 'refused') {
        tellFailed(this.#around, { direction: 'in', service: name })
        const about = `${this.#peer} ${route.code}`
        warnOnce(this.#around, `a connection to '${name}' is refused: ${route.sentence}`, about)
        return stream.reset(route.code, route.sentence)
      }
      if (route.kind === 'handler') {
        route.handle(stream)
        if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve))
        return
      }
      const { service } = route
      if (service.kind === 'udp')
        return stream.reset('SERVICE_UNKNOWN', 'It is a UDP service: it has datagrams, not connections.')
      const { clock } = this.#around
      const taken = takeShare(this.#around, this.#share, costOf(service))
      if (taken.kind === 'refused') {
        tellFailed(this.#around, { direction: 'in', service: name })
        return stream.reset('SERVICE_UNREACHABLE', `The other side refuses this. ${taken.sentence}`)
      }
      const socket = await this.#dial(service, stream, name)
      if (socket === undefined) return taken.giveBack()
      const lingers = lingersOf(service)
      const giveBack = () => {
        if (lingers === 0) taken.giveBack()
        else taken.giveBackPortsAt(clock.now() + lingers)
      }
      if (socket.closed) giveBack()
      else socket.once('close', giveBack)
      log.debug({ service: formatService(service) }, `a connection to '${name}'`)
      const end = await splice(nearSocket(socket), stream, this.#intake)
      if (end.kind === 'cut') log.debug({}, `a connection to '${name}' was reset: ${end.error.message}`)
    } catch (thrown) {
      const error = asPlexusError(thrown)
      log.error({ code: error.code }, `a connection to '${name}' failed: ${error.message}`)
      stream.reset('SERVICE_UNREACHABLE', 'The other side failed.')
    } finally {
      this.#open--
      ended()
    }
  }

  /** The service's socket; undefined if it could not be had, and then the peer has been told. */
  async #dial(service: Parameters<typeof dial>[0], stream: TunnelStream, name: string) {
    const gone = new AbortController()
    const onclose = () => gone.abort(new PlexusError('STREAM_RESET', 'The peer closed the stream.'))
    stream.once('close', onclose)
    const onover = () => gone.abort(this.#over.signal.reason)
    this.#over.signal.addEventListener('abort', onover, { once: true })
    try {
      const socket = await dial(service, { clock: this.#around.clock, signal: gone.signal })
      if (!stream.destroyed) return socket
      socket.destroy()
    } catch (thrown) {
      if (gone.signal.aborted) return undefined
      const { code, message } = asPlexusError(thrown, 'SERVICE_UNREACHABLE')
      tellFailed(this.#around, { direction: 'in', service: name })
      const at = formatService(service)
      warnOnce(this.#around, `'${name}' (${at}): ${message}`, `${at} ${message}`)
      // what this program is short of, the peer cannot help
      const why = code === 'SYSTEM_LIMIT' ? 'the other side has no room for more connections.' : message
      stream.reset(resetCode(code), `The service '${name}': ${why}`)
    } finally {
      stream.off('close', onclose)
      this.#over.signal.removeEventListener('abort', onover)
    }
    return undefined
  }

  #flowInTurn(flow: TunnelFlow, header: Uint8Array): void {
    const wanted = decodeHeader(header)
    if (wanted?.carries !== 'datagrams') {
      flow.close()
      return
    }
    const early = this.#datagrams.hold(flow)
    const giveUp = turnsOf(this.#around.clock).take(
      this.#peer,
      () => void this.#serveFlow(flow, wanted, early),
    )
    void flow.closed.then(giveUp)
  }

  async #serveFlow(flow: TunnelFlow, wanted: Header, early: readonly Buffer[]): Promise<void> {
    try {
      const route = await this.#router({ ...wanted, peer: this.#peer })
      if (route.kind === 'service' && route.service.kind === 'udp') {
        const taken = takeShare(this.#around, this.#share, costOf(route.service))
        if (taken.kind === 'refused') {
          tellFailed(this.#around, { direction: 'in', service: wanted.name })
          return flow.close()
        }
        void flow.closed.then(() => taken.giveBack())
        return await this.#datagrams.serve(flow, wanted.name, route.service, early)
      }
      const why =
        route.kind === 'refused'
          ? route.sentence
          : 'It is not a UDP service: it has connections, not datagrams.'
      const about = `${this.#peer} datagrams`
      warnOnce(this.#around, `datagrams to '${wanted.name}' are refused: ${why}`, about)
    } catch (thrown) {
      const { message } = asPlexusError(thrown)
      warnOnce(this.#around, `datagrams to '${wanted.name}' cannot be delivered: ${message}`, message)
    }
    tellFailed(this.#around, { direction: 'in', service: wanted.name })
    flow.close()
  }
}

function resetCode(code: string): StreamResetCode {
  return code === 'SERVICE_REFUSED' ? code : 'SERVICE_UNREACHABLE'
}
