import type { Endpoint } from '../../src/net/index.js'
import { Connection } from '../../src/wormhole/tunnel/connection.js'
import type { ConnectionEvent, ConnectionOptions } from '../../src/wormhole/tunnel/connection-state.js'
import type { CoreStream } from '../../src/wormhole/tunnel/stream.js'
import type { Prng } from './prng.js'

/** How the path between the two sides treats datagrams, each by itself. Times in ms. */
export interface TunnelWeather {
  readonly loss?: number
  readonly duplication?: number
  /** One way. */
  readonly delay?: number
  /** Added at random, which reorders. */
  readonly jitter?: number
  /** The bottleneck, in bytes per ms, and the bytes that wait before it; beyond, they are lost. */
  readonly rate?: number
  readonly queue?: number
  /** Larger datagrams are lost. */
  readonly mtu?: number
  /** The machines are busy: each process gets a turn only so often, and meanwhile datagrams wait in its socket. */
  readonly turns?: number
}

export const KEY = Buffer.alloc(32, 0x5a)
export const ADDRESS: Readonly<Record<'a' | 'b', Endpoint>> = {
  a: { address: '192.0.2.1', port: 1111 },
  b: { address: '192.0.2.2', port: 2222 },
}

interface Task {
  readonly time: number
  readonly order: number
  readonly run: () => void
}

/** One side: the state machine, what it said, and where it seems to be. */
export class TunnelSide {
  readonly name: 'a' | 'b'
  core: Connection
  /** Where its datagrams come from: a NAT may change it. */
  address: Endpoint
  readonly events: ConnectionEvent[] = []
  onevent: ((event: ConnectionEvent) => void) | undefined
  /** Since when it takes part; before, datagrams meet a closed port. */
  started: boolean
  /** What waits for the next turn of its process. */
  readonly waiting: { readonly data: Buffer; readonly from: Endpoint }[] = []

  constructor(name: 'a' | 'b', core: Connection, started: boolean) {
    this.name = name
    this.core = core
    this.address = ADDRESS[name]
    this.started = started
  }

  has(name: ConnectionEvent['name']): boolean {
    return this.events.some((event) => event.name === name)
  }
}

/** A datagram on the path, for those who watch it. */
export interface Passing {
  readonly from: TunnelSide
  readonly data: Buffer
  readonly to: Endpoint
  readonly time: number
}

/** When a world begins, in ms since 1970-01-01 UTC. */
export const DATE = 1_800_000_000_000

export interface TunnelWorldOptions {
  readonly date?: number
  /** What one side has otherwise than the other one. */
  readonly a?: Partial<ConnectionOptions>
  readonly b?: Partial<ConnectionOptions>
}

/** Two sides of a tunnel and the path between them, in virtual time. */
export class TunnelWorld {
  readonly a: TunnelSide
  readonly b: TunnelSide
  weather: TunnelWeather
  now = 0
  readonly #prng: Prng
  readonly #tasks: Task[] = []
  readonly #wakes = new Map<TunnelSide, number>()
  readonly #busyUntil = new Map<string, number>()
  #order = 0
  /** Sees every datagram as it is sent, and may take it off the path by returning false. */
  onpassing: ((passing: Passing) => boolean) | undefined
  sent = 0

  /** @param late ms after which `b` starts */
  constructor(prng: Prng, weather: TunnelWeather = {}, late = 0, options: TunnelWorldOptions = {}) {
    this.#prng = prng
    this.weather = weather
    const side = (name: 'a' | 'b', at: number) =>
      new TunnelSide(
        name,
        new Connection(
          {
            initiator: name === 'a',
            key: KEY,
            remote: ADDRESS[name === 'a' ? 'b' : 'a'],
            random: prng.bytes,
            date: (options.date ?? DATE) + at,
            ...options[name],
          },
          at,
        ),
        at === 0,
      )
    this.a = side('a', 0)
    this.b = side('b', late)
    this.at(0, () => this.pump(this.a))
    this.at(late, () => {
      this.b.started = true
      this.pump(this.b)
    })
  }

  at(time: number, run: () => void): void {
    const task = { time: Math.max(time, this.now), order: this.#order++, run }
    let low = 0
    let high = this.#tasks.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#tasks[middle] as Task
      // the latest first, so that the next is taken from the end
      if (other.time > task.time || (other.time === task.time && other.order > task.order)) low = middle + 1
      else high = middle
    }
    this.#tasks.splice(low, 0, task)
  }

  /** Runs until `done`, or for `ms`. Returns whether it was done. */
  run(ms: number, done: () => boolean = () => false): boolean {
    const end = this.now + ms
    while (!done()) {
      const task = this.#tasks[this.#tasks.length - 1]
      if (!task || task.time > end) {
        this.now = end
        return done()
      }
      this.#tasks.pop()
      this.now = task.time
      task.run()
    }
    return true
  }

  /** Both machines stand still for so long, in ms, and what was under way comes when they go on. */
  sleep(ms: number): void {
    this.now += ms
    this.#tasks.splice(
      0,
      Number.POSITIVE_INFINITY,
      ...this.#tasks.map((task) => ({ ...task, time: Math.max(task.time, this.now) })),
    )
  }

  /** Both sides are ready. */
  ready(ms = 10_000): boolean {
    return this.run(ms, () => this.a.has('ready') && this.b.has('ready'))
  }

  /** Gives a datagram to a side, as if it came from there. */
  inject(to: TunnelSide, data: Buffer, from: Endpoint): void {
    to.core.receive(this.now, Buffer.from(data), from)
    this.pump(to)
  }

  /** Carries out what a side wants, as its driver does. */
  pump(side: TunnelSide): void {
    side.core.tick(this.now)
    this.#report(side)
    while (side.core.transmit(this.now, (data, to) => this.#send(side, data, to)));
    this.#report(side)
    const at = Math.max(side.core.due(this.now).at, this.now + 0.01)
    if (at === Number.POSITIVE_INFINITY || at >= (this.#wakes.get(side) ?? Number.POSITIVE_INFINITY)) return
    this.#wakes.set(side, at)
    this.at(at, () => {
      if (this.#wakes.get(side) !== at) return
      this.#wakes.delete(side)
      this.#turn(side, at)
    })
  }

  /** The process of a side gets a turn, now or when the machine lets it. */
  #turn(side: TunnelSide, at: number): void {
    const { turns = 0 } = this.weather
    const run = () => {
      for (const { data, from } of side.waiting.splice(0)) side.core.receive(this.now, data, from)
      this.pump(side)
    }
    if (turns === 0) run()
    else this.at((Math.floor(at / turns) + 1) * turns, run)
  }

  #report(side: TunnelSide): void {
    for (let events = side.core.events(); events.length > 0; events = side.core.events()) {
      for (const event of events) {
        side.events.push(event)
        side.onevent?.(event)
      }
    }
  }

  #send(from: TunnelSide, data: Buffer, to: Endpoint): void {
    this.sent++
    if (this.onpassing?.({ from, data: Buffer.from(data), to, time: this.now }) === false) return
    const {
      loss = 0,
      duplication = 0,
      delay = 1,
      jitter = 0,
      rate,
      queue = 100_000,
      mtu = 1472,
    } = this.weather
    if (data.length > mtu || this.#prng.chance(loss)) return
    let wait = 0
    if (rate !== undefined) {
      const free = Math.max(this.#busyUntil.get(from.name) ?? 0, this.now)
      if ((free - this.now) * rate > queue) return
      this.#busyUntil.set(from.name, free + data.length / rate)
      wait = free + data.length / rate - this.now
    }
    const copies = this.#prng.chance(duplication) ? 2 : 1
    const source = from.address
    for (let copy = 0; copy < copies; copy++) {
      const bytes = Buffer.from(data)
      this.at(this.now + wait + delay + this.#prng.between(0, jitter), () => {
        const target = from === this.a ? this.b : this.a
        // a NAT that lost its mapping drops what is sent to the old one
        if (!target.started || target.address.address !== to.address || target.address.port !== to.port)
          return
        target.waiting.push({ data: bytes, from: source })
        this.#turn(target, this.now)
      })
    }
  }
}

/** Reads a stream as it comes, and says when the end came. */
export class Sink {
  readonly chunks: Buffer[] = []
  length = 0
  ended = false
  readonly onend: ((stream: CoreStream) => void) | undefined

  constructor(onend?: (stream: CoreStream) => void) {
    this.onend = onend
  }

  take(stream: CoreStream, now: number): void {
    for (let data = stream.read(now); data; data = stream.read(now)) {
      this.chunks.push(data)
      this.length += data.length
    }
    if (stream.atEnd && !this.ended) {
      this.ended = true
      this.onend?.(stream)
    }
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }
}

/** Has a side read every stream that the other opens; at its end it does `onend`, which ends the other direction. */
export function sinks(
  world: TunnelWorld,
  side: TunnelSide,
  onend = (stream: CoreStream) => stream.end(),
): Map<number, Sink> {
  const all = new Map<number, Sink>()
  side.onevent = (event) => {
    if (event.name === 'stream') all.set(event.stream.id, new Sink(onend))
    if (event.name === 'stream' || event.name === 'readable')
      all.get(event.stream.id)?.take(event.stream, world.now)
  }
  return all
}
