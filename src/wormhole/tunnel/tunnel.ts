import type { Share } from '../../budget/index.js'
import { PlexusError } from '../../errors/index.js'
import {
  type Allowance,
  type Clock,
  type Endpoint,
  formatEndpoint,
  type Logger,
  type Random,
  type UdpPort,
} from '../../net/index.js'
import { publish } from '../../watch/index.js'
import { Allotment } from './allotment.js'
import { Connection } from './connection.js'
import type { ConnectionEvent, ConnectionOptions, Ending } from './connection-state.js'
import { CoreDuplex, type TunnelStream } from './duplex.js'
import { ConnectedFlow, type TunnelFlow } from './flow.js'
import type { CoreFlow } from './flows.js'
import type { CoreStream } from './stream.js'
import type { Witness } from './witness.js'
import { Witnessing, type WitnessingHost } from './witnessing.js'

export interface TunnelOptions
  extends Pick<ConnectionOptions, 'upkeepBudget' | 'renewalTimes' | 'proofTimes'> {
  /** Punched and open. The tunnel owns it and closes it. */
  readonly port: UdpPort
  /** What the side is there for; the tunnel itself is the same both ways. */
  readonly role?: 'import' | 'export' | 'either'
  /** Exactly one side is; the inviter of the pairing. */
  readonly initiator: boolean
  /** Where the peer is at first. */
  readonly remote: Endpoint
  /** 32 bytes that both sides have and nobody else: those of the pairing, or of a file that may serve many times. */
  readonly key: Uint8Array
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** What may be sent to addresses that the peer seems to have moved to, over all tunnels; without it one challenge in 50 ms. */
  readonly allowance?: Allowance
  /** Proves this side's identity and judges the peer's proof, every 12 h; without it the shared key alone counts. */
  readonly witness?: Witness
  /** What the peer may use of this process, over all tunnels; without it there are only the bounds of each tunnel. */
  readonly share?: Share
  /** Aborting it closes the tunnel. */
  readonly signal: AbortSignal
}

/** Why a tunnel is over: closed here or there; nothing authentic came for 10 s; or it broke. */
export interface TunnelOver {
  readonly kind: 'closed' | 'peer-closed' | 'dead' | 'failed'
  readonly error?: PlexusError
}

export interface TunnelStats {
  /** Where the peer is now. */
  readonly path: Endpoint
  /** Round trip in ms; undefined before it was measured. */
  readonly rtt: number | undefined
  readonly streams: number
  readonly flows: number
  /** Bytes of the datagrams that were authentic, and of those sent. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Datagrams that were lost, and what was in them sent again. */
  readonly retransmitted: number
  /** Monotonic ms at which the peer had proven itself; the start before that. */
  readonly since: number
}

/** An encrypted tunnel to one peer over one UDP port. */
export interface Tunnel {
  /**
   * Resolves when the peer has proven that it has the key. Rejects with TUNNEL_SILENT after 10 s, or when the tunnel is
   * over before.
   */
  readonly ready: Promise<void>
  /** Resolves, and never rejects, when the tunnel is over and its port closed. */
  readonly over: Promise<TunnelOver>
  /**
   * Opens a stream; what is written goes out at once, with the header.
   * @param header at most 512 bytes
   * @throws PlexusError TUNNEL_LOST once the tunnel is over, BUSY if there is no memory for more
   */
  open(header: Uint8Array): TunnelStream
  /** Takes the streams that the peer opens. Those that come before a handler is there wait for it. */
  onstream(handler: (stream: TunnelStream, header: Uint8Array) => void): void
  /** Opens a flow of datagrams. @throws as `open` */
  openFlow(header: Uint8Array): TunnelFlow
  onflow(handler: (flow: TunnelFlow, header: Uint8Array) => void): void
  stats(): TunnelStats
  /** Breaks off what is open, tells the peer, and closes the port. */
  close(reason?: string): Promise<void>
}

/**
 * Starts a tunnel. Both sides do, one of them perhaps some seconds later. If it throws the port is still the caller's.
 * @throws RangeError for a key that is none; PlexusError BUSY if the peer may have no further tunnel
 */
export function openTunnel(options: TunnelOptions): Tunnel {
  const allotment = options.share && new Allotment(options.share, options)
  try {
    return new RunningTunnel(options, allotment)
  } catch (thrown) {
    allotment?.end()
    throw thrown
  }
}

/** Receive buffer that is asked of the system, in bytes: what comes at full rate while the process does other things. */
const SOCKET_BUFFER = 4 * 2 ** 20

/** What a peer is told whose proof was not good: why, its own administrator may find out. */
const NOT_PROVEN = 'The proof of your identity was not accepted.'

/** Connects the state machine with a port and a timer, and its streams with their users. */
class RunningTunnel implements Tunnel {
  readonly #options: TunnelOptions
  readonly #core: Connection
  readonly #allotment: Allotment | undefined
  readonly #duplexes = new Map<CoreStream, CoreDuplex>()
  readonly #flows = new Map<CoreFlow, ConnectedFlow>()
  readonly #streamHost = {
    now: () => this.#options.clock.now(),
    unsentLimit: () => this.#core.streams.unsentLimit,
    wake: () => this.#wake(),
  }
  readonly #witnessing: Witnessing | undefined
  readonly #proofHost: WitnessingHost = {
    signed: (time, signatures) => this.#then(() => this.#core.proofs?.signed(time, signatures)),
    judged: () => this.#then((now) => this.#core.proofs?.judged(now)),
    failed: ({ message }) => this.#then((now) => this.#core.fail(now, message, NOT_PROVEN)),
  }
  readonly #stopListening: () => void
  #onstream: ((stream: TunnelStream, header: Uint8Array) => void) | undefined
  #onflow: ((flow: TunnelFlow, header: Uint8Array) => void) | undefined
  /** What the peer opened while nobody takes it, as long as it is open, with its header. */
  readonly #waitingStreams = new Map<CoreDuplex, Buffer>()
  readonly #waitingFlows = new Map<ConnectedFlow, Buffer>()
  #timer: { at: number; cancel: () => void } | undefined
  #turn: NodeJS.Immediate | undefined
  #since: number
  #phase: 'starting' | 'ready' | 'over' = 'starting'
  #settleReady: { resolve: () => void; reject: (error: Error) => void } | undefined
  #settleOver: ((over: TunnelOver) => void) | undefined
  readonly ready: Promise<void>
  readonly over: Promise<TunnelOver>

  constructor(options: TunnelOptions, allotment: Allotment | undefined) {
    this.#options = options
    this.#allotment = allotment
    const { clock, port, signal } = options
    this.#since = clock.now()
    const memory = allotment && { memory: allotment }
    const proves = options.witness !== undefined
    this.#core = new Connection({ ...options, ...memory, proves, date: clock.date() }, this.#since)
    this.#witnessing = options.witness && new Witnessing(options.witness, this.#proofHost, options)
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject }
    })
    this.ready.catch(() => {}) // whoever only waits for `over` has heard
    this.over = new Promise((resolve) => {
      this.#settleOver = resolve
    })
    port.enlarge(SOCKET_BUFFER)
    this.#stopListening = port.listen(({ data, from }) => {
      if (this.#core.receive(clock.now(), data, from)) this.#wake()
      else if (this.#phase === 'starting') this.#wake()
    })
    if (signal.aborted) this.#onabort()
    else signal.addEventListener('abort', this.#onabort, { once: true })
    this.#wake()
  }

  open(header: Uint8Array): TunnelStream {
    this.#assertOpen()
    const core = this.#core.streams.open(header)
    this.#wake()
    return this.#duplexOf(core)
  }

  openFlow(header: Uint8Array): TunnelFlow {
    this.#assertOpen()
    const core = this.#core.flows.open(header)
    this.#wake()
    return this.#flowOf(core)
  }

  onstream(handler: (stream: TunnelStream, header: Uint8Array) => void): void {
    this.#onstream = handler
    const waiting = [...this.#waitingStreams]
    this.#waitingStreams.clear()
    for (const [stream, header] of waiting) handler(stream, header)
  }

  onflow(handler: (flow: TunnelFlow, header: Uint8Array) => void): void {
    this.#onflow = handler
    const waiting = [...this.#waitingFlows]
    this.#waitingFlows.clear()
    for (const [flow, header] of waiting) handler(flow, header)
  }

  stats(): TunnelStats {
    const { rtt, streams, flows, bytesIn, bytesOut, lost } = this.#core.figures
    return {
      path: this.#core.remote,
      rtt,
      streams,
      flows,
      bytesIn,
      bytesOut,
      retransmitted: lost,
      since: this.#since,
    }
  }

  async close(reason = ''): Promise<void> {
    this.#core.close(this.#options.clock.now(), reason)
    this.#wake()
    await this.over
  }

  readonly #onabort = () => {
    void this.close()
  }

  #then(act: (now: number) => void): void {
    act(this.#options.clock.now())
    this.#wake()
  }

  #assertOpen(): void {
    if (this.#core.state === 'over' || this.#core.state === 'closing') {
      throw new PlexusError('TUNNEL_LOST', 'The tunnel is over.')
    }
  }

  /**
   * Has `#run` called once the datagrams that wait at the socket were read: so a batch of them is acknowledged, and
   * handed on, at once.
   */
  #wake(): void {
    if (this.#phase === 'over') return
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined
      this.#run()
    })
  }

  #run(): void {
    const { clock, port } = this.#options
    const now = clock.now()
    this.#core.tick(now)
    this.#report()
    const more = this.#core.transmit(now, (data, to) => port.send(data, to))
    this.#report()
    if (this.#phase === 'over') return
    if (more) this.#wake()
    else this.#arm(now)
  }

  /** One timer, which is left alone when it is early enough. */
  #arm(now: number): void {
    const { at, why } = this.#core.due(now)
    if (this.#timer && this.#timer.at <= at) return
    this.#timer?.cancel()
    this.#timer = undefined
    if (at === Number.POSITIVE_INFINITY) return
    this.#options.log.trace({ wait: Math.round(at - now), why }, 'tunnel: waits')
    // the timer only asks for a turn: datagrams that came meanwhile are read first, before they are taken for lost
    const cancel = this.#options.clock.timer(Math.max(0, at - now), () => {
      this.#timer = undefined
      this.#wake()
    })
    this.#timer = { at, cancel }
  }

  #report(): void {
    for (let events = this.#core.events(); events.length > 0; events = this.#core.events()) {
      for (const event of events) this.#handle(event)
    }
  }

  #handle(event: ConnectionEvent): void {
    const { log } = this.#options
    switch (event.name) {
      case 'readable':
        this.#duplexes.get(event.stream)?.deliver()
        return
      case 'writable':
        this.#duplexes.get(event.stream)?.proceed()
        return
      case 'stream': {
        const duplex = this.#duplexOf(event.stream)
        if (this.#onstream) this.#onstream(duplex, event.header)
        else {
          duplex.on('error', () => {}) // a reset while nobody has it is nobody's error
          duplex.once('close', () => this.#waitingStreams.delete(duplex))
          this.#waitingStreams.set(duplex, event.header)
        }
        return
      }
      case 'reset':
        this.#duplexes.get(event.stream)?.broken()
        return
      case 'flow': {
        const flow = this.#flowOf(event.flow)
        if (this.#onflow) this.#onflow(flow, event.flow.header)
        else this.#waitingFlows.set(flow, event.flow.header)
        return
      }
      case 'flow-data':
        this.#flows.get(event.flow)?.onmessage?.(event.data)
        return
      case 'flow-closed': {
        const flow = this.#flows.get(event.flow)
        flow?.over()
        this.#flows.delete(event.flow)
        if (flow) this.#waitingFlows.delete(flow)
        return
      }
      case 'ready':
        this.#phase = 'ready'
        this.#since = this.#options.clock.now()
        log.debug({ peer: formatEndpoint(this.#core.remote) }, 'tunnel: the peer has proven the key')
        this.#settleReady?.resolve()
        return
      case 'moved':
        publish('plexus:path', { log }, () => ({ name: 'moved', from: event.from, to: event.to }))
        return
      case 'renewed':
        log.debug({ epoch: event.epoch }, 'tunnel: the keys were renewed')
        return
      case 'proof-wanted':
      case 'proof':
        void this.#witnessing?.handle(event)
        return
      case 'over':
        this.#finish(event.ending)
    }
  }

  #finish(ending: Ending): void {
    const { port, log, signal, clock } = this.#options
    const over = overOf(ending)
    this.#core.transmit(clock.now(), (data, to) => port.send(data, to)) // the answer to a close
    this.#phase = 'over'
    this.#witnessing?.close()
    this.#timer?.cancel()
    this.#timer = undefined
    clearImmediate(this.#turn)
    this.#stopListening()
    signal.removeEventListener('abort', this.#onabort)
    for (const stream of [...this.#waitingStreams.keys()]) stream.destroy()
    log.debug({ ...this.#core.figures, why: over.kind }, 'tunnel: over')
    if (ending.name === 'peer-closed' && ending.sentence !== '')
      log.info({}, `the peer ended the tunnel and said: ${ending.sentence.replace(/\p{Cc}/gu, ' ')}`)
    this.#settleReady?.reject(over.error ?? new PlexusError('TUNNEL_LOST', 'The tunnel was closed.'))
    void port.close().then(() => {
      this.#allotment?.end()
      this.#settleOver?.(over)
    })
  }

  #duplexOf(core: CoreStream): CoreDuplex {
    const duplex = new CoreDuplex(core, this.#streamHost)
    this.#duplexes.set(core, duplex)
    duplex.once('close', () => this.#duplexes.delete(core))
    return duplex
  }

  #flowOf(core: CoreFlow): ConnectedFlow {
    const flow = new ConnectedFlow(core, this.#core.flows, () => this.#wake())
    this.#flows.set(core, flow)
    return flow
  }
}

function overOf(ending: Ending): TunnelOver {
  switch (ending.name) {
    case 'closed':
      return { kind: 'closed' }
    case 'peer-closed':
      return { kind: 'peer-closed' }
    case 'silent':
      return {
        kind: 'dead',
        error: new PlexusError('TUNNEL_SILENT', 'The peer did not answer in the tunnel within 10 s.'),
      }
    case 'dead':
      return {
        kind: 'dead',
        error: new PlexusError('TUNNEL_LOST', 'Nothing came from the peer for 10 s.'),
      }
    case 'failed':
      return { kind: 'failed', error: new PlexusError('TUNNEL_LOST', ending.sentence) }
  }
}
