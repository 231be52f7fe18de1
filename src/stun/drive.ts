import type { Clock, Datagram, Due, Endpoint, Logger, UdpPort } from '../net/index.js'
import type { Transmit } from './transaction.js'

/**
 * What a state machine without I/O looks like from outside. Times are in ms of the clock.
 *
 * Its calls: `transmits` first, then `receive`, and `tick` when it is due; after each of them `transmits` and `due`.
 */
export interface Machine {
  receive(now: number, data: Uint8Array, from: Endpoint): unknown
  tick(now: number): void
  transmits(): Transmit[]
  /** When `tick` is wanted next, and why. */
  readonly due: Due
}

/**
 * Connects a state machine to a port and a clock, until it is stopped: the one place here with a timer. Datagrams
 * are listened to, not consumed; whoever else listens on the port gets them as well.
 */
export class Drive {
  readonly #machine: Machine
  readonly #port: UdpPort
  readonly #clock: Clock
  readonly #log: Logger | undefined
  readonly #onstep: () => void
  readonly #unlisten: () => void
  #cancel: (() => void) | undefined
  #state: 'running' | 'stopped' = 'running'

  /** @param onstep called after each datagram, tick and `step`, when all that was to be sent has been */
  constructor(machine: Machine, options: { port: UdpPort; clock: Clock; log?: Logger; onstep: () => void }) {
    this.#machine = machine
    this.#port = options.port
    this.#clock = options.clock
    this.#log = options.log
    this.#onstep = options.onstep
    this.#unlisten = options.port.listen((datagram: Datagram) => {
      machine.receive(this.#clock.now(), datagram.data, datagram.from)
      this.step()
    })
  }

  /** Sends what is to be sent, and waits for the next deadline. To be called after every change from outside. */
  step(): void {
    if (this.#state === 'stopped') return
    for (const { data, to } of this.#machine.transmits()) this.#port.send(data, to)
    this.#onstep()
    this.#wait()
  }

  stop(): void {
    this.#state = 'stopped'
    this.#cancel?.()
    this.#cancel = undefined
    this.#unlisten()
  }

  #wait(): void {
    this.#cancel?.()
    this.#cancel = undefined
    const { at, why } = this.#machine.due
    // `onstep` may have stopped it
    if (this.#state === 'stopped' || at === Number.POSITIVE_INFINITY) return
    const wait = Math.max(0, at - this.#clock.now())
    this.#log?.trace({ wait: Math.round(wait), why }, 'stun: waits')
    this.#cancel = this.#clock.timer(wait, () => {
      this.#machine.tick(this.#clock.now())
      this.step()
    })
  }
}
