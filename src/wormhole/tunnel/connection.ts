import type { Endpoint, Random } from '../../net/index.js'
import { GENERATION, HEADER_LENGTH, LAST_PACKET, Opener, OVERHEAD, TAG_LENGTH } from './cipher.js'
import { Congestion } from './congestion.js'
import { ControlQueue } from './control.js'
import { type CoreFlow, type FlowEvent, Flows } from './flows.js'
import { type Frame, FrameWriter, fitSentence, flowOverhead, parseFrames } from './frame.js'
import type { TunnelKeys } from './greeting.js'
import { Handshake, type HandshakeOutcome } from './handshake.js'
import { type Delivery, Ledger } from './ledger.js'
import { Path } from './path.js'
import { BASE_DATAGRAM, PathMtu } from './path-mtu.js'
import { StreamViolation } from './receive-half.js'
import { Received } from './received.js'
import { RoundTrip } from './round-trip.js'
import { Slab } from './slab.js'
import type { CoreStream, StreamResetCode } from './stream.js'
import { type StreamEvent, Streams } from './streams.js'

/** The peer has to prove itself within this, in ms: it may start some seconds later. */
export const SILENT_AFTER = 10_000

/**
 * A side that sent nothing for this long says so, in ms. NATs keep a mapping 30 s and more (RFC 4787 asks for 120); and
 * shorter than DEAD_AFTER, so that a peer whose address changed while it was idle is heard before it is given up.
 */
export const KEEP_ALIVE = 8_000

/** The path is dead when this long nothing answered what wants an answer, in ms. */
export const DEAD_AFTER = 9_500

/** A tick this late tells that the whole process stood still, in ms: that time does not count as silence. */
const STALL = 2_500

/** Keys change at least this often, in ms; a forger has no more tries with one than ChaCha20-Poly1305 bears (2^36). */
const GENERATION_TIME = 3_600_000

/** A closing side repeats itself so often before it leaves without an answer. */
const CLOSE_TRIES = 4

/** No datagram with frames is shorter, in bytes, so that a challenge is never longer than what it answers. */
const LEAST_DATAGRAM = 48

/** Of datagrams that only acknowledge, one in so many asks for an acknowledgement itself, so that lists stay short. */
const ACKS_PER_PING = 32

/** Why it is over. */
export type Ending =
  | { readonly name: 'closed' }
  | { readonly name: 'peer-closed'; readonly sentence: string }
  | { readonly name: 'silent' }
  | { readonly name: 'dead' }
  | { readonly name: 'failed'; readonly sentence: string }

export type ConnectionState =
  | { readonly name: 'handshake' }
  | { readonly name: 'open' }
  | { readonly name: 'closing'; readonly sentence: Buffer; tries: number; nextAt: number }
  | { readonly name: 'over'; readonly ending: Ending }

export type ConnectionEvent =
  | StreamEvent
  | FlowEvent
  | { readonly name: 'ready' }
  | { readonly name: 'moved'; readonly from: Endpoint; readonly to: Endpoint }
  | { readonly name: 'over'; readonly ending: Ending }

export interface ConnectionOptions {
  readonly initiator: boolean
  /** 32 bytes that both sides know, and nobody else. They may have served before. */
  readonly key: Uint8Array
  /** Where the peer is at first. */
  readonly remote: Endpoint
  readonly random: Random
}

type Send = (data: Buffer, to: Endpoint) => void

/**
 * One side of a tunnel as a state machine without a socket or a timer: it takes the time (ms, monotonic), datagrams and
 * ticks, and gives back datagrams, events and the time at which it wants to be called next.
 */
export class Connection {
  readonly #path: Path
  readonly #rtt = new RoundTrip()
  readonly #mtu = new PathMtu()
  readonly #congestion = new Congestion(BASE_DATAGRAM)
  readonly #ledger = new Ledger(this.#rtt, this.#congestion)
  readonly #received = new Received()
  readonly #controls = new ControlQueue()
  readonly #streams: Streams
  readonly #flows: Flows
  readonly #slab = new Slab()
  readonly #startedAt: number
  #handshake: Handshake | undefined
  #keys: TunnelKeys | undefined
  #state: ConnectionState = { name: 'handshake' }
  #events: ConnectionEvent[] = []
  #challenges: { to: Endpoint; value: Buffer }[] = []
  #nextPacket = 0
  #generationAt: number
  #pingWanted = false
  /** Datagrams that may go beyond the window, because of a time-out. */
  #probes = 0
  #acksAlone = 0
  #lastSentAt: number
  #waitingSince = Number.POSITIVE_INFINITY
  #lastTickAt: number
  #closeAnswer = false
  readonly counted = { bytesIn: 0, bytesOut: 0, packetsIn: 0, packetsOut: 0, dropped: 0 }

  constructor(options: ConnectionOptions, now: number) {
    this.#path = new Path(options.remote, options.random)
    this.#startedAt = this.#generationAt = this.#lastSentAt = this.#lastTickAt = now
    this.#handshake = new Handshake(options, now)
    const emit = (event: ConnectionEvent) => this.#events.push(event)
    this.#streams = new Streams(this, options.initiator, this.#controls, emit)
    this.#flows = new Flows(options.initiator, this.#controls, emit)
  }

  get state(): ConnectionState {
    return this.#state
  }

  get remote(): Endpoint {
    return this.#path.remote
  }

  get figures() {
    const { rate, window, inflight, state } = this.#congestion
    return {
      ...this.counted,
      rtt: this.#rtt.measured,
      streams: this.#streams.size,
      flows: this.#flows.size,
      lost: this.#ledger.lost,
      datagram: this.#mtu.size,
      congestion: { rate, window, inflight, state },
    }
  }

  /** What happened since the last call. */
  events(): ConnectionEvent[] {
    const events = this.#events
    if (events.length > 0) this.#events = []
    return events
  }

  // Streams and flows

  openStream(header: Uint8Array): CoreStream {
    return this.#streams.open(header)
  }

  openFlow(header: Uint8Array): CoreFlow {
    return this.#flows.open(header)
  }

  /** The largest datagram of a flow now, in bytes. */
  maxPayload(flow: CoreFlow): number {
    return this.#mtu.size - OVERHEAD - flowOverhead(flow.id)
  }

  /** Sends a datagram; it must not change any more. False if it is too large or there is no room. */
  sendDatagram(flow: CoreFlow, data: Uint8Array): boolean {
    return data.length <= this.maxPayload(flow) && this.#flows.send(flow, data)
  }

  closeFlow(flow: CoreFlow): void {
    this.#flows.close(flow)
  }

  /** A stream with fewer unsent bytes than this takes more. */
  get unsentLimit(): number {
    return this.#streams.unsentLimit
  }

  wants(stream: CoreStream): void {
    this.#streams.enqueue(stream)
  }

  consumed(stream: CoreStream, now: number): void {
    this.#streams.consumed(stream, now, this.#rtt.smoothed)
  }

  progressed(stream: CoreStream): void {
    this.#streams.closeMaybe(stream)
  }

  resetStream(stream: CoreStream, code: StreamResetCode, sentence: string): void {
    this.#streams.reset(stream, code, sentence)
  }

  /** Ends the tunnel: every stream is broken off, and the peer is told why. */
  close(now: number, sentence: string): void {
    if (this.#state.name === 'closing' || this.#state.name === 'over') return
    if (this.#state.name === 'handshake') {
      this.#end({ name: 'closed' })
      return
    }
    this.#state = { name: 'closing', sentence: fitSentence(sentence), tries: 0, nextAt: now }
    this.#streams.resetAll(sentence)
    this.#flows.closeAll()
    this.#controls.clear()
  }

  // Time and datagrams

  /** When `tick` and `transmit` want to be called, in ms. */
  deadline(now: number): number {
    const { state } = this
    if (state.name === 'over') return Number.POSITIVE_INFINITY
    if (state.name === 'closing') return state.nextAt
    if (state.name === 'handshake') {
      return Math.min(this.#handshake?.deadline ?? now, this.#startedAt + SILENT_AFTER)
    }
    return Math.min(
      this.#received.deadline,
      this.#ledger.deadline,
      this.#lastSentAt + KEEP_ALIVE,
      this.#waitingSince + DEAD_AFTER,
      this.#pending ? this.#congestion.nextAt(now, this.#mtu.size) : Number.POSITIVE_INFINITY,
    )
  }

  tick(now: number): void {
    const { state } = this
    if (now - this.#lastTickAt > STALL && now > this.deadline(this.#lastTickAt) + STALL) {
      this.#waitingSince += now - this.#lastTickAt
    }
    this.#lastTickAt = now
    if (state.name === 'handshake') {
      if (now >= this.#startedAt + SILENT_AFTER) this.#end({ name: 'silent' })
      else this.#handshake?.tick(now)
      return
    }
    if (state.name !== 'open') return
    if (now >= this.#waitingSince + DEAD_AFTER) {
      this.#end({ name: 'dead' })
      return
    }
    if (now >= this.#lastSentAt + KEEP_ALIVE) this.#pingWanted = true
    if (this.#ledger.tick(now)) {
      this.#probes = 2
      this.#pingWanted = true
      if (this.#mtu.timedOut(now, this.#ledger.timeouts)) this.#congestion.datagram = this.#mtu.size
    }
  }

  /** Takes a datagram, which it may overwrite. Returns false for what is not the peer's. */
  receive(now: number, data: Buffer, from: Endpoint): boolean {
    if (this.#state.name === 'over') return false
    if (this.#state.name === 'handshake') {
      const outcome = this.#handshake?.receive(now, data, from)
      if (outcome?.name !== 'done') return false
      this.#begin(now, outcome)
      return true
    }
    const packet = Opener.packetOf(data)
    const payload =
      packet !== undefined && !this.#received.seen(packet) ? this.#keys?.opener.open(data, packet) : undefined
    if (packet === undefined || !payload) {
      this.counted.dropped++
      return false
    }
    this.#accept(now, packet, payload, data.length, from)
    return true
  }

  /**
   * Gives what is to be sent now to `send`.
   * @param most datagrams at once
   * @returns true if it stopped at that number
   */
  transmit(now: number, send: Send, most = 128): boolean {
    for (const { data, to } of this.#handshake?.transmits() ?? []) send(data, to)
    if (this.#state.name === 'closing') this.#transmitClose(now, send)
    if (this.#closeAnswer) {
      this.#closeAnswer = false
      this.#sendClose(now, send, Buffer.alloc(0))
    }
    if (this.#state.name !== 'open') return false
    for (const { to, value } of this.#challenges.splice(0)) {
      this.#sendAlone(
        now,
        (data) => send(data, to),
        (writer) => writer.challenge(value),
      )
    }
    for (let count = 0; count < most; count++) {
      if (this.#sendProbe(now, send)) continue
      const data = this.#assemble(now)
      if (!data) return false
      send(data, this.#path.remote)
    }
    return true
  }

  /** There is something for the next datagram besides an acknowledgement. */
  get #pending(): boolean {
    return this.#pingWanted || !this.#controls.empty || this.#flows.waiting || this.#streams.waiting
  }

  #begin(now: number, outcome: HandshakeOutcome & { name: 'done' }): void {
    this.#handshake?.wipe()
    this.#handshake = undefined
    this.#keys = outcome.keys
    this.#state = { name: 'open' }
    this.#generationAt = now
    if (outcome.rtt !== undefined) {
      this.#rtt.add(outcome.rtt)
      this.#congestion.measured(now, outcome.rtt)
    }
    this.#events.push({ name: 'ready' })
    // the responder waits for a datagram under the new keys: there is one at once
    this.#pingWanted = true
    if (outcome.payload) this.#accept(now, outcome.packet ?? 0, outcome.payload, 0, outcome.from)
    else this.#heard(now, outcome.from)
  }

  #heard(now: number, from: Endpoint): void {
    const challenge = this.#path.heard(now, from)
    if (challenge) this.#challenges.push(challenge)
  }

  #accept(now: number, packet: number, payload: Buffer, size: number, from: Endpoint): void {
    this.counted.packetsIn++
    this.counted.bytesIn += size
    this.#waitingSince = Number.POSITIVE_INFINITY
    const frames = parseFrames(payload)
    if (!frames) {
      this.#fail(now, 'The peer sent a datagram that means nothing.')
      return
    }
    if (packet > this.#received.highest) this.#heard(now, from)
    this.#received.add(
      packet,
      frames.some(({ type }) => type !== 'ack' && type !== 'close'),
      now,
    )
    try {
      for (const frame of frames) this.#handle(now, frame, from)
    } catch (thrown) {
      if (!(thrown instanceof StreamViolation)) throw thrown
      this.#fail(now, `The peer broke the protocol: ${thrown.message}.`)
    }
  }

  #handle(now: number, frame: Frame, from: Endpoint): void {
    if (frame.type === 'close') {
      this.#closeAnswer = this.#state.name === 'open'
      if (this.#state.name === 'closing') this.#end({ name: 'closed' })
      else this.#end({ name: 'peer-closed', sentence: frame.sentence })
      return
    }
    if (this.#state.name !== 'open') return
    switch (frame.type) {
      case 'stream':
        this.#streams.arrived(frame.id, frame.offset, frame.data, frame.fin)
        break
      case 'ack':
        this.#acknowledged(now, frame.ranges, frame.delay)
        break
      case 'window':
        this.#streams.allowed(frame.id, frame.limit)
        break
      case 'reset':
        this.#streams.wasReset(frame.id, frame.code, frame.sentence)
        break
      case 'flow-open':
        this.#flows.opened(frame.id, frame.header)
        break
      case 'flow-data':
        this.#flows.arrived(frame.id, frame.data)
        break
      case 'flow-close':
        this.#flows.closed(frame.id)
        break
      case 'challenge': {
        const value = Buffer.from(frame.value)
        this.#controls.add({ length: 9, write: (writer) => writer.response(value), wanted: () => true })
        break
      }
      case 'response':
        this.#answered(now, frame.value, from)
        break
      case 'ping': // it asks for nothing but the acknowledgement
    }
  }

  #acknowledged(now: number, ranges: readonly (readonly [number, number])[], delay: number): void {
    const acked = this.#ledger.acknowledge(now, ranges, delay, this.#nextPacket - 1)
    if (!acked) throw new StreamViolation('an acknowledgement of what was never sent')
    for (const { acknowledges } of acked) if (acknowledges >= 0) this.#received.forget(acknowledges)
  }

  #answered(now: number, value: Buffer, from: Endpoint): void {
    const before = this.#path.remote
    if (!this.#path.answered(value, from)) return
    this.#ledger.abandon(now)
    this.#rtt.reset()
    this.#mtu.reset()
    this.#congestion.datagram = this.#mtu.size
    this.#congestion.reset(now)
    this.#pingWanted = true
    this.#events.push({ name: 'moved', from: before, to: from })
  }

  // Datagrams out

  /** The next datagram, sealed; undefined when there is none to send now. */
  #assemble(now: number): Buffer | undefined {
    const due = this.#received.due(now)
    const admitted = this.#pending && (this.#probes > 0 || this.#congestion.admits(now, this.#mtu.size))
    if (!due && !admitted) {
      if (!this.#pending) this.#congestion.starved()
      return undefined
    }
    const size = this.#mtu.size
    const buffer = this.#slab.room(size)
    const writer = new FrameWriter(buffer, HEADER_LENGTH, size - TAG_LENGTH)
    const deliveries: Delivery[] = []
    const acknowledges = this.#writeAck(now, writer)
    const before = writer.at
    if (admitted) this.#fill(writer, deliveries)
    else if (++this.#acksAlone % ACKS_PER_PING === 0) writer.ping()
    if (writer.at === HEADER_LENGTH) return undefined
    return this.#finish(now, writer, {
      deliveries,
      acknowledges,
      eliciting: writer.at > before,
      probe: false,
    })
  }

  #writeAck(now: number, writer: FrameWriter): number {
    const received = this.#received
    if (!received.wanted) return -1
    writer.ack(received.rangeCount, received.range, received.age(now))
    received.acknowledged()
    return received.highest
  }

  /** Fills a datagram: control frames, then datagrams of flows, then streams in their turn. */
  #fill(writer: FrameWriter, deliveries: Delivery[]): void {
    const start = writer.at
    this.#controls.write(writer, deliveries)
    const fresh = writer.at === start
    const flows = this.#flows.waiting && this.#flows.write(writer, fresh && start === HEADER_LENGTH)
    this.#streams.write(writer, deliveries)
    if (this.#pingWanted && writer.at === start && writer.left > 0) writer.ping()
    if (writer.at > start || flows) this.#pingWanted = false
  }

  #finish(
    now: number,
    writer: FrameWriter,
    what: { deliveries: Delivery[]; acknowledges: number; eliciting: boolean; probe: boolean },
  ): Buffer {
    const least = LEAST_DATAGRAM - TAG_LENGTH
    if (writer.at < least) {
      writer.target.fill(0, writer.at, least)
      writer.at = least
    }
    const size = writer.at + TAG_LENGTH
    const datagram = this.#slab.take(size)
    const packet = this.#takePacket(now)
    this.#keys?.sealer.seal(datagram, packet)
    this.counted.packetsOut++
    this.counted.bytesOut += size
    this.#lastSentAt = now
    if (!what.eliciting) return datagram
    if (this.#probes > 0) this.#probes--
    this.#waitingSince = Math.min(this.#waitingSince, now)
    const { deliveries, acknowledges, probe } = what
    const state = this.#congestion.sent(now, size)
    const links = { before: undefined, after: undefined, resent: false }
    this.#ledger.add({ packet, size, sentAt: now, deliveries, acknowledges, probe, state, ...links })
    return datagram
  }

  /** One datagram with a single frame that nobody repeats. */
  #sendAlone(now: number, send: (data: Buffer) => void, write: (writer: FrameWriter) => void): void {
    const buffer = this.#slab.room(BASE_DATAGRAM)
    const writer = new FrameWriter(buffer, HEADER_LENGTH, BASE_DATAGRAM - TAG_LENGTH)
    write(writer)
    send(this.#finish(now, writer, { deliveries: [], acknowledges: -1, eliciting: false, probe: false }))
  }

  /** Tries a larger datagram, when it is time to. */
  #sendProbe(now: number, send: Send): boolean {
    const size = this.#rtt.measured === undefined ? undefined : this.#mtu.probe(now)
    if (size === undefined) return false
    const buffer = this.#slab.room(size)
    const writer = new FrameWriter(buffer, HEADER_LENGTH, size - TAG_LENGTH)
    writer.ping()
    writer.pad()
    this.#mtu.sent()
    const delivery = {
      acked: (at: number) => {
        this.#mtu.acked(at, size)
        this.#congestion.datagram = this.#mtu.size
      },
      lost: (at: number) => this.#mtu.lost(at),
    }
    send(
      this.#finish(now, writer, { deliveries: [delivery], acknowledges: -1, eliciting: true, probe: true }),
      this.#path.remote,
    )
    return true
  }

  #takePacket(now: number): number {
    if (now - this.#generationAt > GENERATION_TIME) {
      this.#generationAt = now
      this.#nextPacket = (Math.floor(this.#nextPacket / GENERATION) + 1) * GENERATION
    } else if (this.#nextPacket % GENERATION === 0) this.#generationAt = now
    if (this.#nextPacket >= LAST_PACKET)
      this.#end({ name: 'failed', sentence: 'The tunnel ran out of packet numbers.' })
    return this.#nextPacket++
  }

  #transmitClose(now: number, send: Send): void {
    const { state } = this
    if (state.name !== 'closing' || now < state.nextAt) return
    if (state.tries === CLOSE_TRIES) {
      this.#end({ name: 'closed' })
      return
    }
    state.tries++
    state.nextAt = now + Math.min(this.#rtt.timeout, 250) * state.tries
    this.#sendClose(now, send, state.sentence)
  }

  #sendClose(now: number, send: Send, sentence: Buffer): void {
    this.#sendAlone(
      now,
      (data) => send(data, this.#path.remote),
      (writer) => writer.close(sentence),
    )
  }

  #fail(now: number, sentence: string): void {
    this.#closeAnswer = true
    this.#end({ name: 'failed', sentence })
    this.#lastTickAt = now
  }

  #end(ending: Ending): void {
    if (this.#state.name === 'over') return
    this.#state = { name: 'over', ending }
    this.#handshake?.wipe()
    this.#handshake = undefined
    const sentence = 'sentence' in ending ? ending.sentence : ''
    this.#streams.resetAll(sentence || 'The tunnel is over.')
    this.#flows.closeAll()
    this.#events.push({ name: 'over', ending })
  }
}
