import { type Endpoint, formatEndpoint } from '../../src/net/index.js'
import type { Nat } from './nat.js'
import type { Prng } from './prng.js'

/** How every address begins that means nothing outside its own network. */
export const PRIVATE = '192.168.'

/** How a network treats packets. Times in ms. */
export interface Weather {
  /** Probability that a packet is lost, each by itself. */
  readonly loss: number
  readonly duplication: number
  /** One-way delay, and what is added to it at random, which also reorders. */
  readonly delay: number
  readonly jitter: number
  /** Routers on the way to the peer's NAT, the own one included: a packet with no greater TTL dies before it. */
  readonly distance: number
  /**
   * Probability that somebody who sees every packet lets a copy of one arrive first, from an address of his choice,
   * and drops the original half of the time.
   */
  readonly forgery?: number
}

/** How many sockets a machine has at most; the ports of the further ones follow the one of the first. */
const SOCKETS = 1024

/** A machine with some UDP sockets. */
export interface SimulatedHost {
  readonly name: string
  /** The endpoint of its first socket on its own network. */
  readonly inner: Endpoint
  /** Hosts with the same number reach each other without the NAT. */
  readonly lan: number
  /** None: `inner` is public. */
  readonly nat: Nat | undefined
  receive(data: Buffer, from: Endpoint, socket: number): void
}

/** A socket of a machine. */
interface Target {
  readonly host: SimulatedHost
  readonly socket: number
}

/** The endpoint of a socket on its own network. */
export function innerOf(host: SimulatedHost, socket: number): Endpoint {
  return { address: host.inner.address, port: host.inner.port + socket }
}

function socketAt(host: SimulatedHost, endpoint: Endpoint): Target | undefined {
  const socket = endpoint.port - host.inner.port
  if (endpoint.address !== host.inner.address || socket < 0 || socket >= SOCKETS) return undefined
  return { host, socket }
}

interface Task {
  readonly time: number
  readonly order: number
  readonly run: () => void
}

/** A network in virtual time: nothing happens but by `run`, and the same seed makes the same thing happen. */
export class Network {
  readonly #hosts: SimulatedHost[] = []
  readonly #weather: Weather
  readonly #prng: Prng
  readonly #tasks: Task[] = []
  #order = 0
  now = 0
  sent = 0

  constructor(weather: Weather, prng: Prng) {
    this.#weather = weather
    this.#prng = prng
  }

  add(host: SimulatedHost): void {
    this.#hosts.push(host)
  }

  /** Runs a task at a time; tasks of the same time run in the order in which they came. */
  at(time: number, run: () => void): void {
    push(this.#tasks, { time: Math.max(time, this.now), order: this.#order++, run })
  }

  /** Runs the next task. Returns false if there is none. */
  step(): boolean {
    const task = pop(this.#tasks)
    if (!task) return false
    this.now = task.time
    task.run()
    return true
  }

  /** Sends a datagram, and lets happen to it on its way what may. */
  send(host: SimulatedHost, data: Buffer, to: Endpoint, ttl: number | undefined, socket = 0): void {
    this.sent++
    const { loss, duplication, delay, jitter, distance, forgery = 0 } = this.#weather
    const neighbour = this.#neighbour(host, to)
    // what arrives at the NAT opens a mapping, whatever becomes of it later
    const from = neighbour ? innerOf(host, socket) : this.#leave(host, to, socket)
    if (!from || (!neighbour && ttl !== undefined && ttl <= distance)) return
    if (this.#prng.chance(forgery)) {
      const forged = { address: '192.88.66.6', port: this.#prng.integer(1024, 65535) }
      this.at(this.now + 0.05, () => {
        const target = this.#arrive(forged, to)
        target?.host.receive(data, forged, target.socket)
      })
      if (this.#prng.chance(0.5)) return
    }
    const copies = this.#prng.chance(loss) ? 0 : this.#prng.chance(duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const way = neighbour ? this.#prng.between(0.1, 2) : delay + this.#prng.between(0, jitter)
      this.at(this.now + way, () => {
        const target = neighbour ?? this.#arrive(from, to)
        target?.host.receive(data, from, target.socket)
      })
    }
  }

  /** Where a packet without any bad luck would arrive, and from where it would seem to come. */
  trace(host: SimulatedHost, to: Endpoint, socket = 0): (Target & { from: Endpoint }) | undefined {
    const neighbour = this.#neighbour(host, to)
    if (neighbour) return { ...neighbour, from: innerOf(host, socket) }
    const from = this.#leave(host, to, socket)
    const target = from && this.#arrive(from, to)
    return target && { ...target, from }
  }

  #neighbour(host: SimulatedHost, to: Endpoint): Target | undefined {
    for (const other of this.#hosts) {
      const found = other.lan === host.lan ? socketAt(other, to) : undefined
      if (found) return found
    }
    return undefined
  }

  #leave(host: SimulatedHost, to: Endpoint, socket: number): Endpoint | undefined {
    if (to.address.startsWith(PRIVATE)) return undefined
    const inner = innerOf(host, socket)
    return host.nat ? host.nat.outbound(this.now, inner, to) : inner
  }

  #arrive(from: Endpoint, to: Endpoint): Target | undefined {
    for (const host of this.#hosts) {
      if (!host.nat) {
        const found = socketAt(host, to)
        if (found) return found
      } else if (host.nat.address === to.address) {
        const inner = host.nat.inbound(this.now, to.port, from)
        if (!inner) return undefined
        for (const other of this.#hosts) {
          const found = other.nat === host.nat ? socketAt(other, inner) : undefined
          if (found) return found
        }
        return undefined
      }
    }
    return undefined
  }
}

function before(a: Task, b: Task): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order)
}

/** A binary heap in an array. */
function push(heap: Task[], task: Task): void {
  let index = heap.length
  heap.push(task)
  while (index > 0) {
    const parentIndex = (index - 1) >> 1
    const parent = heap[parentIndex] as Task
    if (!before(task, parent)) break
    heap[index] = parent
    index = parentIndex
  }
  heap[index] = task
}

function pop(heap: Task[]): Task | undefined {
  const first = heap[0]
  const last = heap.pop()
  if (!last || heap.length === 0) return first
  let index = 0
  for (;;) {
    let child = 2 * index + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1] as Task, heap[child] as Task)) child++
    if (!before(heap[child] as Task, last)) break
    heap[index] = heap[child] as Task
    index = child
  }
  heap[index] = last
  return first
}

/** For the digest of a run. */
export function line(now: number, host: string, what: string, to: Endpoint, ttl: number | undefined): string {
  return `${now} ${host} ${what} ${formatEndpoint(to)} ${ttl ?? ''}\n`
}
