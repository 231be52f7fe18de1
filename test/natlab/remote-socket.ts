import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Machine } from './machine.js'
import type { Report, Request } from './socket-agent.js'

/** A datagram as a socket in the laboratory got it. */
export interface Received {
  readonly text: string
  readonly from: Endpoint
}

interface Endpoint {
  readonly address: string
  readonly port: number
}

type Unnumbered<T> = T extends unknown ? Omit<T, 'request'> : never

/** A process in a namespace that has UDP sockets there, which are worked from here. */
export class SocketAgent {
  readonly #child: ChildProcess
  readonly #input: Writable
  readonly #sockets = new Map<number, RemoteSocket>()
  readonly #requests = new Map<number, { done: (port: number) => void; failed: (error: Error) => void }>()
  readonly #ended: Promise<void>
  #count = 0

  constructor(machine: Machine) {
    const script = fileURLToPath(new URL('socket-agent.js', import.meta.url))
    this.#child = machine.spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] })
    const { stdin, stdout } = this.#child
    if (!stdin || !stdout) throw new Error('the agent has no pipes')
    this.#input = stdin
    stdin.on('error', () => {})
    createInterface({ input: stdout }).on('line', (line) => this.#report(JSON.parse(line) as Report))
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        for (const { failed } of this.#requests.values())
          failed(new Error(`The agent in ${machine.name} ended.`))
        resolve()
      })
    })
  }

  /** Opens a UDP socket there. Port 0, the default, lets the system choose. */
  async open(address = '0.0.0.0', port = 0): Promise<RemoteSocket> {
    const id = ++this.#count
    const request = (what: Unnumbered<Request>) => this.#ask(what)
    const socket = new RemoteSocket(id, request)
    this.#sockets.set(id, socket)
    socket.port = await this.#ask({ op: 'open', socket: id, address, port })
    return socket
  }

  /** Ends the process and with it all its sockets. */
  async stop(): Promise<void> {
    this.#input.end()
    await this.#ended
  }

  #ask(what: Unnumbered<Request>): Promise<number> {
    const request = ++this.#count
    return new Promise((done, failed) => {
      this.#requests.set(request, { done, failed })
      this.#input.write(`${JSON.stringify({ ...what, request })}\n`)
    })
  }

  #report(report: Report): void {
    if (report.op === 'received') {
      const { text, address, port } = report
      this.#sockets.get(report.socket)?.take({ text, from: { address, port } })
      return
    }
    const waiting = this.#requests.get(report.request)
    this.#requests.delete(report.request)
    if (report.op === 'done') waiting?.done(report.port)
    else waiting?.failed(new Error(report.reason))
  }
}

/** A UDP socket in a namespace. */
export class RemoteSocket {
  /** The port that it is bound to. */
  port = 0
  /** What came in, in order. */
  readonly received: Received[] = []
  readonly #id: number
  readonly #ask: (what: Unnumbered<Request>) => Promise<number>
  readonly #waiting = new Set<(datagram: Received) => void>()

  constructor(id: number, ask: (what: Unnumbered<Request>) => Promise<number>) {
    this.#id = id
    this.#ask = ask
  }

  /**
   * Sends a datagram and resolves when the system has taken it.
   * @param ttl in hops; the system's default without it
   */
  async send(text: string, to: Endpoint, ttl = 0): Promise<void> {
    await this.#ask({ op: 'send', socket: this.#id, text, address: to.address, port: to.port, ttl })
  }

  /** The first datagram with this text, received already or yet to come. @throws signal.reason */
  receive(text: string, signal: AbortSignal): Promise<Received> {
    const there = this.received.find((datagram) => datagram.text === text)
    if (there) return Promise.resolve(there)
    return new Promise((resolve, reject) => {
      const onabort = () => {
        this.#waiting.delete(take)
        reject(new Error(`No datagram '${text}' came.`, { cause: signal.reason }))
      }
      const take = (datagram: Received) => {
        if (datagram.text !== text) return
        this.#waiting.delete(take)
        signal.removeEventListener('abort', onabort)
        resolve(datagram)
      }
      this.#waiting.add(take)
      signal.addEventListener('abort', onabort, { once: true })
      if (signal.aborted) onabort()
    })
  }

  /** Whether a datagram with this text came already. */
  has(text: string): boolean {
    return this.received.some((datagram) => datagram.text === text)
  }

  async close(): Promise<void> {
    await this.#ask({ op: 'close', socket: this.#id })
  }

  /** For the agent: a datagram came in. */
  take(datagram: Received): void {
    this.received.push(datagram)
    for (const waiting of [...this.#waiting]) waiting(datagram)
  }
}
