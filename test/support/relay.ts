import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

/** How a link of the relay treats datagrams, each by itself and in both directions. */
export interface RelayWeather {
  /** One-way delay in ms. Timers have 1 ms; what is due within one leaves with the next. */
  readonly delay?: number
  /** Probability that a datagram is lost. */
  readonly loss?: number
  /** Probability that a datagram is held back, and for how many ms. */
  readonly reordering?: number
  readonly heldFor?: number
  /** Probability that a datagram comes twice. */
  readonly duplication?: number
  /** From 0 to 1, without 1. */
  readonly random?: () => number
}

interface Held {
  readonly due: number
  readonly data: Buffer
  readonly from: Socket
  readonly port: number
}

/**
 * A link in userspace, on the loopback: two sides that each speak to a port of it, `near` and `far`, and are each
 * forwarded to the other. `rebind` does what a NAT does that lost its mapping: the near side then comes from another port.
 */
export class Relay {
  #near: Socket
  #far: Socket
  readonly #nearPeer: number
  readonly #farPeer: number
  #weather: RelayWeather
  readonly #queue: Held[] = []
  #timer: NodeJS.Timeout | undefined
  readonly traffic = { carried: 0, lost: 0 }

  private constructor(near: Socket, far: Socket, nearPeer: number, farPeer: number, weather: RelayWeather) {
    this.#near = near
    this.#far = far
    this.#nearPeer = nearPeer
    this.#farPeer = farPeer
    this.#weather = weather
    near.on('message', (data) => this.#carry(data, this.#far, this.#farPeer))
    this.#listenFar()
  }

  /** @param nearPeer the loopback port of the one side, which speaks to `near`; `farPeer` speaks to `far` */
  static async open(nearPeer: number, farPeer: number, weather: RelayWeather = {}): Promise<Relay> {
    return new Relay(await bound(), await bound(), nearPeer, farPeer, weather)
  }

  /** Where the near side sends to. */
  get near(): number {
    return this.#near.address().port
  }

  /** Where the far side sends to, and where it sees the near side. */
  get far(): number {
    return this.#far.address().port
  }

  set weather(weather: RelayWeather) {
    this.#weather = weather
  }

  /** The near side comes from another port from now on; what is sent to the old one goes nowhere. */
  async rebind(): Promise<void> {
    const old = this.#far
    this.#far = await bound()
    this.#listenFar()
    old.close()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#queue.length = 0
    this.#near.close()
    this.#far.close()
  }

  #listenFar(): void {
    this.#far.on('message', (data) => this.#carry(data, this.#near, this.#nearPeer))
  }

  #carry(data: Buffer, from: Socket, port: number): void {
    const {
      delay = 0,
      loss = 0,
      reordering = 0,
      heldFor = 5,
      duplication = 0,
      random = Math.random,
    } = this.#weather
    if (random() < loss) {
      this.traffic.lost++
      return
    }
    this.traffic.carried++
    const copies = random() < duplication ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const held = random() < reordering ? heldFor : 0
      if (delay + held === 0) this.#send({ due: 0, data, from, port })
      else this.#hold({ due: performance.now() + delay + held, data, from, port })
    }
  }

  #hold(held: Held): void {
    let index = this.#queue.length
    while (index > 0 && (this.#queue[index - 1] as Held).due > held.due) index--
    this.#queue.splice(index, 0, held)
    this.#arm()
  }

  #arm(): void {
    if (this.#timer || this.#queue.length === 0) return
    const wait = Math.max(0, (this.#queue[0] as Held).due - performance.now())
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const now = performance.now() + 0.5
      let count = 0
      while (count < this.#queue.length && (this.#queue[count] as Held).due <= now) count++
      for (const held of this.#queue.splice(0, count)) this.#send(held)
      this.#arm()
    }, wait)
  }

  #send({ data, from, port }: Held): void {
    try {
      from.send(data, port, '127.0.0.1')
    } catch {
      // closed meanwhile, as by `rebind`: lost
    }
  }
}

async function bound(): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  socket.on('error', () => {}) // nobody listens there: lost
  return socket
}
