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
import { Arrivals } from './arrivals.js'
import { Connection } from './connection.js'
import type { ConnectionEvent, ConnectionOptions, Ending } from './connection-state.js'
import { CoreDuplex, type TunnelStream } from './duplex.js'
import { Fifo } from './fifo.js'
import { ConnectedFlow, type TunnelFlow } from './flow.js'
import type { CoreFlow } from './flows.js'
import type { Tunnel, TunnelOver, TunnelStats } from './interface.js'
import { overOf } from './over.js'
import { type Place, slicesOf } from './slices.js'
import type { CoreStream } from './stream.js'
import { Untaken } from './untaken.js'
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
  /** Who is at the other end: all tunnels of one peer share its time on the event loop. Without it the tunnel has its own. */
  readonly peer?: string
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

/** However much comes, so often deadlines are looked at, in ms. */
const TICK_AT_LEAST = 20

/** What a peer is told whose connection nobody took. */
const NOT_TAKEN = 'The other side takes no connections.'

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
  readonly #waitingStreams: Untaken<CoreDuplex>
  readonly #waitingFlows: Untaken<ConnectedFlow>
  #timer: { at: number; cancel: () => void } | undefined
  readonly #place: Place
  readonly #arrivals = new Arrivals()
  /** What happened and was not told yet. */
  readonly #events = new Fifo<ConnectionEvent>()
  /** The time that the core was told last, and when its deadlines were looked at. */
  #toldAt = 0
  #tickedAt = 0
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
    this.#waitingStreams = new Untaken(clock, (stream) => stream.reset('SERVICE_REFUSED', NOT_TAKEN))
    this.#waitingFlows = new Untaken(clock, (flow) => flow.close())
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
    this.#place = slicesOf(clock).join({ work: (until) => this.#work(until) }, options.peer)
    this.#stopListening = port.listen((datagram) => {
      if (this.#arrivals.add(datagram, clock.now())) this.#wake()
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
    for (const [stream, header] of this.#waitingStreams.takeAll()) handler(stream, header)
  }

  onflow(handler: (flow: TunnelFlow, header: Uint8Array) => void): void {
    this.#onflow = handler
    for (const [flow, header] of this.#waitingFlows.takeAll()) handler(flow, header)
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
    this.#core.close(this.#now(), reason)
    this.#wake()
    await this.over
  }

  readonly #onabort = () => {
    void this.close()
  }

  #then(act: (now: number) => void): void {
    act(this.#now())
    this.#wake()
  }

  /** The time for the core, which never goes back for it. */
  #now(): number {
    this.#toldAt = this.#options.clock.now()
    return this.#toldAt
  }

  #assertOpen(): void {
    if (this.#core.state === 'over' || this.#core.state === 'closing') {
      throw new PlexusError('TUNNEL_LOST', 'The tunnel is over.')
    }
  }

  /** Has `#work` called when it is the peer's turn: after all that waits at the socket was taken, and acknowledged at once. */
  #wake(): void {
    if (this.#phase !== 'over') this.#place.wake()
  }

  /** What came, what is due, and what can be sent, until that time. Returns true if there is more. */
  #work(until: number): boolean {
    const { clock, port } = this.#options
    if (this.#report(until)) return true
    for (let came = this.#arrivals.next(); came; came = this.#arrivals.next()) {
      // when it came, not when it is looked at: round trips are those of the path
      this.#toldAt = Math.max(this.#toldAt, came.at)
      this.#core.receive(this.#toldAt, came.data, came.from)
      if (clock.now() >= until) break
    }
    const now = this.#now()
    // an acknowledgement that has come is read before its packet is taken for lost
    if (this.#arrivals.length === 0 || now - this.#tickedAt > TICK_AT_LEAST) {
      this.#tickedAt = now
      this.#core.tick(now)
    }
    if (this.#report(until)) return true
    const more = this.#core.transmit(now, (data, to) => port.send(data, to))
    if (this.#report(until)) return true
    if (this.#phase === 'over') return false
    if (more || this.#arrivals.length > 0) return true
    this.#arm(now)
    return false
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

  /** Tells what has happened, one after the other. Returns true if the time was over before all was told. */
  #report(until: number): boolean {
    const { clock } = this.#options
    for (;;) {
      for (const event of this.#core.events()) this.#events.push(event)
      const event = this.#events.shift()
      if (!event) return false
      this.#handle(event)
      if (clock.now() >= until && this.#events.length > 0) return true
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
          this.#waitingStreams.add(duplex, event.header)
        }
        return
      }
      case 'reset':
        this.#duplexes.get(event.stream)?.broken()
        return
      case 'flow': {
        const flow = this.#flowOf(event.flow)
        if (this.#onflow) this.#onflow(flow, event.flow.header)
        else this.#waitingFlows.add(flow, event.flow.header)
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
    this.#place.leave()
    this.#stopListening()
    this.#arrivals.clear()
    signal.removeEventListener('abort', this.#onabort)
    for (const [stream] of this.#waitingStreams.takeAll()) stream.destroy()
    this.#waitingFlows.takeAll()
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
