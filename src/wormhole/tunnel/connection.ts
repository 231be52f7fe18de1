import { type Endpoint, NEVER } from '../../net/index.js'
import { Acquaintance } from './acquaintance.js'
import { Opener, OVERHEAD } from './cipher.js'
import { Closing } from './closing.js'
import { Congestion } from './congestion.js'
import type {
  ConnectionDue,
  ConnectionEvent,
  ConnectionOptions,
  ConnectionState,
  Ending,
} from './connection-state.js'
import { ControlQueue } from './control.js'
import { Flows } from './flows.js'
import { eliciting, type Frame, fitSentence, parseFrames } from './frame.js'
import { Greeter } from './greeting.js'
import { Handshake, type HandshakeOutcome } from './handshake.js'
import { Ledger } from './ledger.js'
import { Outbound, type Send } from './outbound.js'
import { Path } from './path.js'
import { BASE_DATAGRAM, PathMtu } from './path-mtu.js'
import { StreamViolation } from './receive-half.js'
import { Received } from './received.js'
import { Responses } from './responses.js'
import { RoundTrip } from './round-trip.js'
import { Streams } from './streams.js'
import { DEAD_AFTER, KEEP_ALIVE, KEEP_ALIVE_APART, SILENT_AFTER, STALL } from './timing.js'
import { Upkeep } from './upkeep.js'

/**
 * One side of a tunnel as a state machine without a socket or a timer: it takes the time (ms, monotonic), datagrams and
 * ticks, and gives back datagrams, events and the time at which it wants to be called next.
 *
 * Its calls: `receive` for what has come, `close`, and what `streams` and `flows` are asked to do, as it happens; then once
 * for all of that, or when it is due, `tick`, `events`, `transmit`, `events`; and `due`, unless `transmit` stopped half-way.
 */
export class Connection {
  readonly #options: ConnectionOptions
  readonly #path: Path
  readonly #rtt = new RoundTrip()
  readonly #mtu = new PathMtu()
  readonly #congestion = new Congestion(BASE_DATAGRAM)
  readonly #ledger = new Ledger(this.#rtt, this.#congestion)
  readonly #received = new Received()
  readonly #controls = new ControlQueue()
  readonly streams: Streams
  readonly flows: Flows
  #state: ConnectionState
  #events: ConnectionEvent[] = []
  /** Told when nothing else is left to be told. */
  #last: ConnectionEvent | undefined
  /** Datagrams that are to go out as they are. */
  #ready: { readonly data: Buffer; readonly to: Endpoint }[] = []
  readonly #responses = new Responses(this.#controls)
  #sent = { packetsOut: 0, bytesOut: 0 }
  readonly #keepAlive: number
  readonly #greeter: Greeter
  #lastTickAt: number
  /** Datagrams and bytes that were the peer's, and datagrams that were not. */
  readonly #counted = { packetsIn: 0, bytesIn: 0, dropped: 0 }

  constructor(options: ConnectionOptions, now: number) {
    this.#options = options
    this.#path = new Path(options.remote, options.random, options.allowance)
    this.#lastTickAt = now
    this.#keepAlive = options.initiator ? KEEP_ALIVE : KEEP_ALIVE + KEEP_ALIVE_APART
    this.#greeter = new Greeter(options)
    this.#state = { name: 'handshake', handshake: new Handshake(options, this.#greeter, now), since: now }
    const emit = (event: ConnectionEvent) => this.#events.push(event)
    this.streams = new Streams(options.initiator, this.#controls, this.#rtt, emit, options.memory)
    this.flows = new Flows(options.initiator, this.#controls, this.#mtu, emit)
  }

  get state(): ConnectionState['name'] {
    return this.#state.name
  }

  /** Where the peer is now. */
  get remote(): Endpoint {
    return this.#path.remote
  }

  /** For the log, a report and the benchmarks. Times in ms, rates in bytes per ms. */
  get figures() {
    const { rate, window, inflight, state } = this.#congestion
    return {
      ...this.#counted,
      ...('outbound' in this.#state ? this.#state.outbound.counted : this.#sent),
      rtt: this.#rtt.measured,
      streams: this.streams.size,
      flows: this.flows.size,
      lost: this.#ledger.lost,
      datagram: this.#mtu.size,
      epoch: this.#state.name === 'open' ? this.#state.upkeep.epoch : 0,
      congestion: { rate, window, inflight, state },
    }
  }

  /** What happened since the last call. */
  events(): ConnectionEvent[] {
    // of a tunnel that is over: some streams and flows at a time, and then that it is
    if (this.#events.length === 0) this.streams.breakOff()
    if (this.#events.length === 0) this.flows.breakOff()
    if (this.#events.length === 0 && this.#last) {
      this.#events.push(this.#last)
      this.#last = undefined
    }
    const events = this.#events
    if (events.length > 0) this.#events = []
    return events
  }

  /** Ends the tunnel: every stream is broken off, and the peer is told why. */
  close(now: number, sentence: string): void {
    const state = this.#state
    if (state.name === 'handshake') this.#end({ name: 'closed' })
    if (state.name !== 'open') return
    const { opener, outbound, upkeep } = state
    this.#state = { name: 'closing', opener, outbound, upkeep, closing: new Closing(sentence, now) }
    this.#release(sentence)
  }

  /** Takes the answers to `proof-wanted` and `proof`; `fail` is the other one to a proof. */
  get proofs(): Pick<Upkeep, 'signed' | 'judged'> | undefined {
    return this.#state.name === 'open' ? this.#state.upkeep : undefined
  }

  /** When `tick` and `transmit` want to be called, and why. */
  due(now: number): ConnectionDue {
    const state = this.#state
    switch (state.name) {
      case 'over':
        return NEVER
      case 'closing':
        return { at: state.closing.nextAt, why: 'close' }
      case 'handshake': {
        const { due } = state.handshake
        const silent = state.since + SILENT_AFTER
        return due.at <= silent ? due : { at: silent, why: 'give up' }
      }
      case 'open': {
        const { outbound, acquaintance, upkeep } = state
        // asked twice a turn: only what comes sooner is made an object
        let due: ConnectionDue = outbound.due(now)
        if (acquaintance.confirmAt < due.at) due = { at: acquaintance.confirmAt, why: 'confirm' }
        const alive = outbound.lastSentAt + this.#keepAlive
        if (alive < due.at) due = { at: alive, why: 'keep alive' }
        const silence = Math.min(outbound.waitingSince + DEAD_AFTER, acquaintance.doubtEnds)
        if (silence < due.at) due = { at: silence, why: 'give up' }
        return upkeep.due.at < due.at ? upkeep.due : due
      }
    }
  }

  tick(now: number): void {
    const state = this.#state
    const asleep = now - Math.max(this.#lastTickAt, Math.min(now, this.due(this.#lastTickAt).at))
    this.#lastTickAt = now
    if (state.name === 'handshake') {
      if (now >= state.since + SILENT_AFTER) this.#end({ name: 'silent' })
      else state.handshake.tick(now)
    }
    if (state.name !== 'open') return
    const { outbound, acquaintance, upkeep } = state
    if (asleep > STALL) {
      outbound.waitingSince += asleep
      acquaintance.doubtEnds += asleep
    }
    if (now >= Math.min(outbound.waitingSince + DEAD_AFTER, acquaintance.doubtEnds)) {
      this.#end({ name: 'dead' })
      return
    }
    const stalled = asleep > STALL ? asleep : 0
    const neglect = upkeep.tick(now, stalled)
    if (neglect !== undefined) this.fail(now, neglect)
    this.streams.tick(now, stalled)
    if (now >= outbound.lastSentAt + this.#keepAlive) outbound.pingWanted = true
    if (this.#ledger.tick(now)) outbound.timedOut(now)
  }

  /** Takes a datagram, which it may overwrite. Returns false for what is not the peer's. */
  receive(now: number, data: Buffer, from: Endpoint): boolean {
    const state = this.#state
    if (state.name === 'over') return false
    if (state.name === 'handshake') {
      const outcome = state.handshake.receive(now, data, from)
      if (outcome.name === 'done') this.#begin(now, state.handshake, outcome)
      return outcome.name === 'done'
    }
    const packet = Opener.packetOf(data)
    const fresh = packet !== undefined && !this.#received.seen(packet)
    const payload = fresh ? state.opener.open(data, packet) : undefined
    if (!fresh || !payload) {
      this.#counted.dropped++
      if (state.name === 'open' && Greeter.isGreeting(data) && state.acquaintance.greeted(now, data))
        state.outbound.pingWanted = true
      return false
    }
    this.#accept(now, packet, payload, from)
    this.#counted.bytesIn += data.length
    return true
  }

  /**
   * Gives what is to be sent now to `send`.
   * @param most datagrams at once
   * @returns true if it stopped at that number
   */
  transmit(now: number, send: Send, most = 128): boolean {
    const state = this.#state
    if (state.name === 'handshake') for (const { data, to } of state.handshake.transmits()) send(data, to)
    if (state.name === 'closing') this.#repeatClose(now, state)
    if (this.#ready.length > 0) for (const { data, to } of this.#ready.splice(0)) send(data, to)
    if (state.name !== 'open') return false
    const confirmation = state.acquaintance.transmit(now)
    if (confirmation) send(confirmation, this.#path.remote)
    if (!state.outbound.usable)
      this.#end({ name: 'failed', sentence: 'The tunnel ran out of packet numbers.' })
    return state.outbound.transmit(now, this.#path.remote, send, most)
  }

  #begin(now: number, handshake: Handshake, outcome: HandshakeOutcome & { name: 'done' }): void {
    handshake.wipe()
    const { streams, flows } = this
    const sources = { received: this.#received, controls: this.#controls, flows, streams }
    const governors = { rtt: this.#rtt, mtu: this.#mtu, congestion: this.#congestion, ledger: this.#ledger }
    const { sealer, opener } = outcome.keys
    const outbound = new Outbound(sources, governors, sealer, this.#options.random, now)
    const acquaintance = new Acquaintance(this.#greeter, outcome.peer, outcome.confirmation, now)
    const upkeep = new Upkeep(
      this.#options,
      {
        peer: outcome.peer,
        keys: outcome.keys,
        controls: this.#controls,
        counts: () => ({ sent: outbound.numbers.next, received: this.#received.highest + 1 }),
        emit: (event) => this.#events.push(event),
        onkeys: (epoch, until) => {
          outbound.numbers.renewed(until)
          outbound.pingWanted = true // the peer waits for a datagram under these keys
          if (epoch > 0) this.#events.push({ name: 'renewed', epoch })
        },
      },
      now,
    )
    this.#state = { name: 'open', opener, outbound, acquaintance, upkeep }
    outbound.pingWanted = true
    if (outcome.rtt !== undefined) {
      this.#rtt.add(outcome.rtt)
      this.#congestion.measured(now, outcome.rtt)
    }
    this.#events.push({ name: 'ready' })
    if (outcome.payload) this.#accept(now, outcome.packet, outcome.payload, outcome.from)
    else this.#heard(now, outcome.from)
  }

  /** The newest datagram came from there. */
  #heard(now: number, from: Endpoint): void {
    const challenge = this.#path.heard(now, from)
    if (!challenge || this.#state.name !== 'open') return
    const data = this.#state.outbound.alone(now, (writer) => writer.challenge(challenge.value))
    this.#ready.push({ data, to: challenge.to })
  }

  #accept(now: number, packet: number, payload: Buffer, from: Endpoint): void {
    this.#counted.packetsIn++
    if (this.#state.name === 'open') {
      this.#state.outbound.waitingSince = Number.POSITIVE_INFINITY
      this.#state.acquaintance.heard()
      this.#state.upkeep.opened(now)
    }
    const frames = parseFrames(payload)
    if (!frames) {
      this.fail(now, 'The peer sent an invalid datagram.')
      return
    }
    if (packet > this.#received.highest) this.#heard(now, from)
    try {
      let acknowledgements = 0
      let kept = true
      for (const frame of frames) {
        // each may name 64 ranges: a datagram of them would cost more than it weighs, and no peer writes two
        if (frame.type === 'ack' && ++acknowledgements > 1)
          throw new StreamViolation('two acknowledgements in a datagram')
        if (!this.#handle(now, frame, from)) kept = false
        this.#controls.assertBounded()
      }
      if (kept) this.#received.add(packet, frames.some(eliciting), now, payload.length + OVERHEAD)
      else this.#received.drop(packet)
    } catch (thrown) {
      if (!(thrown instanceof StreamViolation)) throw thrown
      this.fail(now, `The peer violated the protocol: ${thrown.message}.`)
    }
  }

  /** @returns false if there is no room for what it brings: then the peer is to send it again */
  #handle(now: number, frame: Frame, from: Endpoint): boolean {
    if (frame.type === 'close') {
      // both may have closed at once: each answers the other
      if ('outbound' in this.#state) this.#sendClose(now, this.#state.outbound, '')
      this.#end(
        this.#state.name === 'closing'
          ? { name: 'closed' }
          : { name: 'peer-closed', sentence: frame.sentence },
      )
      return true
    }
    if (this.#state.name !== 'open') return true
    switch (frame.type) {
      case 'stream':
        return this.streams.arrived(frame.id, frame.offset, frame.data, frame.fin, now)
      case 'reset':
        return this.streams.wasReset(frame.id, frame.code, frame.sentence)
      case 'ack':
        this.#acknowledged(now, this.#state.outbound, frame.ranges, frame.delay)
        break
      case 'window':
        this.streams.allowed(frame.id, frame.limit)
        break
      case 'flow-open':
        this.flows.opened(frame.id, frame.header)
        break
      case 'flow-close':
        this.flows.closed(frame.id)
        break
      case 'flow-data':
        this.flows.arrived(frame.id, frame.data)
        break
      case 'challenge':
        this.#responses.add(frame.value)
        break
      case 'response':
        this.#answered(now, this.#state.outbound, frame.value, from)
        break
      case 'ping': // it asks for nothing but the acknowledgement
        break
      default:
        this.#state.upkeep.handle(now, frame)
    }
    return true
  }

  #acknowledged(
    now: number,
    outbound: Outbound,
    ranges: readonly (readonly [number, number])[],
    delay: number,
  ): void {
    if (outbound.numbers.lied(ranges)) throw new StreamViolation('an acknowledgement of what was never sent')
    const acked = this.#ledger.acknowledge(now, ranges, delay)
    for (const { acknowledges } of acked) if (acknowledges >= 0) this.#received.forget(acknowledges)
  }

  #answered(now: number, outbound: Outbound, value: Buffer, from: Endpoint): void {
    const before = this.#path.remote
    if (!this.#path.answered(now, value, from)) return
    outbound.moved(now)
    this.#events.push({ name: 'moved', from: before, to: from })
  }

  #repeatClose(now: number, state: ConnectionState & { name: 'closing' }): void {
    const step = state.closing.step(now, this.#rtt.timeout)
    if (step === 'say') this.#sendClose(now, state.outbound, state.closing.sentence)
    if (step === 'leave') this.#end({ name: 'closed' })
  }

  #sendClose(now: number, outbound: Outbound, sentence: string): void {
    const data = outbound.alone(now, (writer) => writer.close(fitSentence(sentence)))
    this.#ready.push({ data, to: this.#path.remote })
  }

  /** Ends it at once. @param told the peer is told this */
  fail(now: number, sentence: string, told = sentence): void {
    if (this.#state.name === 'open') this.#sendClose(now, this.#state.outbound, told)
    this.#end({ name: 'failed', sentence })
  }

  #end(ending: Ending): void {
    const state = this.#state
    if (state.name === 'over') return
    this.#greeter.wipe()
    if (state.name === 'handshake') state.handshake.wipe()
    else {
      this.#sent = state.outbound.counted
      state.upkeep.wipe()
    }
    this.#state = { name: 'over', ending }
    this.#release(('sentence' in ending && ending.sentence) || 'The tunnel is over.')
    this.#last = { name: 'over', ending }
  }

  #release(sentence: string): void {
    this.streams.endAll(sentence || 'The tunnel was closed.')
    this.flows.endAll()
    this.#controls.clear()
  }
}
