import { type Due, type Endpoint, NEVER, type Random } from '../../net/index.js'
import { HEADER_LENGTH, type Sealer, TAG_LENGTH } from './cipher.js'
import type { Congestion } from './congestion.js'
import type { ControlQueue } from './control.js'
import type { Flows } from './flows.js'
import { FrameWriter } from './frame.js'
import type { Ledger } from './ledger.js'
import { PacketNumbers } from './packet-numbers.js'
import { BASE_DATAGRAM, type PathMtu } from './path-mtu.js'
import type { Received } from './received.js'
import type { RoundTrip } from './round-trip.js'
import type { Delivery } from './sent-packets.js'
import { Slab } from './slab.js'
import type { Streams } from './streams.js'

/** No datagram with frames is shorter, in bytes, so that a challenge is never longer than what it answers. */
const LEAST_DATAGRAM = 48

/** Of datagrams that only acknowledge, one in so many asks for an acknowledgement itself, so that lists stay short. */
const ACKS_PER_PING = 32

export type Send = (data: Buffer, to: Endpoint) => void

/** What goes out is made of. */
export interface Sources {
  readonly received: Received
  readonly controls: ControlQueue
  readonly flows: Flows
  readonly streams: Streams
}

/** What it is judged by. */
export interface Governors {
  readonly rtt: RoundTrip
  readonly mtu: PathMtu
  readonly congestion: Congestion
  readonly ledger: Ledger
}

interface Contents {
  readonly deliveries: readonly Delivery[]
  /** The highest packet that it acknowledges, or -1. */
  readonly acknowledges: number
  /** It wants an acknowledgement itself. */
  readonly eliciting: boolean
  /** It tries a larger datagram. */
  readonly probe: boolean
}

const ALONE: Contents = { deliveries: [], acknowledges: -1, eliciting: false, probe: false }

/** What waits to be sent. */
export type OutboundWhy = 'send' | 'acknowledge' | Ledger['due']['why']

/** Makes the datagrams of one side, when there is something to send and the path may take it. */
export class Outbound {
  readonly #sources: Sources
  readonly #governors: Governors
  readonly #sealer: Sealer
  readonly #slab = new Slab()
  /** Datagrams that may go beyond the window, after a time-out (RFC 9002 section 6.2.4). */
  #probes = 0
  #acksAlone = 0
  /** Whether a datagram of a flow goes first next time: it may need a datagram for itself. */
  #turn: 'streams' | 'flows' = 'streams'
  readonly numbers: PacketNumbers
  /** The next datagram is to ask for an acknowledgement, even if it holds nothing else. */
  pingWanted = false
  lastSentAt: number
  /** Since when something waits for an answer of any kind; Infinity when nothing does. */
  waitingSince = Number.POSITIVE_INFINITY
  readonly counted = { packetsOut: 0, bytesOut: 0 }

  constructor(sources: Sources, governors: Governors, sealer: Sealer, random: Random, now: number) {
    this.#sources = sources
    this.#governors = governors
    this.#sealer = sealer
    this.numbers = new PacketNumbers(random, now)
    this.lastSentAt = now
  }

  /** False once every packet number was used. */
  get usable(): boolean {
    return this.numbers.usable
  }

  /** When something can be sent, and what. */
  due(now: number): Due<OutboundWhy> {
    const { congestion, mtu, ledger } = this.#governors
    const { dueAt } = this.#sources.received
    const next = this.#pending && !ledger.full ? congestion.nextAt(now, mtu.size) : Number.POSITIVE_INFINITY
    const mended = ledger.due
    if (next <= dueAt && next <= mended.at)
      return next < Number.POSITIVE_INFINITY ? { at: next, why: 'send' } : NEVER
    return mended.at <= dueAt ? mended : { at: dueAt, why: 'acknowledge' }
  }

  /** Something waits too long for its acknowledgement: it goes out again, or at least a question does. */
  timedOut(now: number): void {
    const { mtu, congestion, ledger } = this.#governors
    this.#probes = ledger.again
    this.pingWanted = true
    if (mtu.timedOut(now, ledger.timeouts)) congestion.datagram = mtu.size
  }

  /** The path is another one: it is learnt anew, and what was under way is taken for lost. */
  moved(now: number): void {
    const { rtt, mtu, congestion, ledger } = this.#governors
    ledger.abandon(now)
    rtt.reset()
    mtu.reset()
    congestion.datagram = mtu.size
    congestion.reset(now)
    this.pingWanted = true
  }

  /**
   * Sends what may go now.
   * @param most datagrams
   * @returns true if it stopped at that number
   */
  transmit(now: number, to: Endpoint, send: Send, most: number): boolean {
    for (let count = 0; count < most && this.usable; count++) {
      const datagram = this.#widen(now) ?? this.#assemble(now)
      if (!datagram) return false
      send(datagram, to)
    }
    return true
  }

  /** One datagram with a single frame that nobody repeats, whatever the path bears. */
  alone(now: number, write: (writer: FrameWriter) => void): Buffer {
    const writer = this.#writer(BASE_DATAGRAM)
    write(writer)
    return this.#finish(now, writer, ALONE)
  }

  /** There is something for the next datagram besides an acknowledgement. */
  get #pending(): boolean {
    const { controls, flows, streams } = this.#sources
    return this.pingWanted || !controls.empty || flows.waiting || streams.waiting
  }

  /** The next datagram; undefined when there is none to send now. */
  #assemble(now: number): Buffer | undefined {
    const { received } = this.#sources
    const { mtu, congestion, ledger } = this.#governors
    const pending = this.#pending
    const admitted = pending && (this.#probes > 0 || (!ledger.full && congestion.admits(now, mtu.size)))
    if (!pending) congestion.starved()
    if (!admitted && !received.due(now)) return undefined
    const writer = this.#writer(mtu.size)
    const deliveries: Delivery[] = []
    const alone = admitted && this.#turn === 'flows'
    const acknowledges = alone ? -1 : this.#acknowledge(now, writer)
    const before = writer.at
    if (admitted) this.#fill(writer, deliveries)
    // a peer that acknowledges nothing is not asked without end
    else if (++this.#acksAlone % ACKS_PER_PING === 0 && congestion.inflight < congestion.window) writer.ping()
    if (writer.at === HEADER_LENGTH) return undefined
    return this.#finish(now, writer, {
      deliveries,
      acknowledges,
      eliciting: writer.at > before,
      probe: false,
    })
  }

  #acknowledge(now: number, writer: FrameWriter): number {
    const { received } = this.#sources
    if (!received.wanted) return -1
    writer.ack(received.rangeCount, received.range, received.age(now), received.room)
    received.acknowledged()
    return received.newest
  }

  /** Fills a datagram: control frames first, then streams and datagrams of flows in turn. */
  #fill(writer: FrameWriter, deliveries: Delivery[]): void {
    const { controls, flows, streams } = this.#sources
    const start = writer.at
    const turn = this.#turn
    if (turn === 'flows') flows.write(writer, true)
    controls.write(writer, deliveries)
    if (turn === 'streams' && !streams.waiting) flows.write(writer, writer.at === HEADER_LENGTH)
    streams.write(writer, deliveries)
    this.#turn = flows.waiting && (turn === 'streams' || !streams.waiting) ? 'flows' : 'streams'
    if (this.pingWanted && writer.at === start && writer.left > 0) writer.ping()
    if (writer.at > start) this.pingWanted = false
  }

  #writer(size: number): FrameWriter {
    return new FrameWriter(this.#slab.room(size), HEADER_LENGTH, size - TAG_LENGTH)
  }

  #finish(now: number, writer: FrameWriter, contents: Contents): Buffer {
    const least = LEAST_DATAGRAM - TAG_LENGTH
    if (writer.at < least) {
      writer.target.fill(0, writer.at, least)
      writer.at = least
    }
    const size = writer.at + TAG_LENGTH
    const datagram = this.#slab.take(size)
    const packet = this.numbers.take(now)
    this.#sealer.seal(datagram, packet)
    this.counted.packetsOut++
    this.counted.bytesOut += size
    this.lastSentAt = now
    if (!contents.eliciting) return datagram
    if (this.#probes > 0) this.#probes--
    this.waitingSince = Math.min(this.waitingSince, now)
    const { deliveries, acknowledges, probe } = contents
    const state = this.#governors.congestion.sent(now, size)
    this.#governors.ledger.add({
      packet,
      size,
      sentAt: now,
      deliveries,
      acknowledges,
      probe,
      state,
      resent: false,
      place: 0,
    })
    return datagram
  }

  /** A datagram that tries a larger size, when it is time to. */
  #widen(now: number): Buffer | undefined {
    const { rtt, mtu, congestion } = this.#governors
    const size = rtt.measured === undefined ? undefined : mtu.probe(now)
    if (size === undefined) return undefined
    const writer = this.#writer(size)
    writer.ping()
    writer.pad()
    mtu.sent()
    const delivery = {
      acked: (at: number) => {
        mtu.acked(at, size)
        congestion.datagram = mtu.size
      },
      lost: (at: number) => mtu.lost(at),
    }
    return this.#finish(now, writer, {
      deliveries: [delivery],
      acknowledges: -1,
      eliciting: true,
      probe: true,
    })
  }
}
