import { once } from 'node:events'
import type { Machine } from './machine.js'
import { type Packet, PacketFile } from './packet.js'

interface Waiting {
  readonly matches: (packet: Packet) => boolean
  readonly found: (packet: Packet) => void
  readonly failed: (error: Error) => void
}

/** tcpdump at an interface, read as packets and not as text. */
export class Capture {
  /** What was seen so far, in order. */
  readonly packets: Packet[] = []
  readonly #waiting = new Set<Waiting>()
  readonly #stop: () => void
  readonly #stopped: Promise<void>

  private constructor(stop: () => void, stopped: Promise<void>) {
    this.#stop = stop
    this.#stopped = stopped.then(() => {
      for (const { failed } of [...this.#waiting])
        failed(new Error('The capture ended before the packet came.'))
    })
  }

  /** @throws Error with what tcpdump says, for example about the filter */
  static async start(machine: Machine, filter: string): Promise<Capture> {
    const options = ['-i', machine.uplink, '--immediate-mode', '-n', '-U', '-Z', 'root', '-w', '-', filter]
    const child = machine.spawn('tcpdump', options, { stdio: ['ignore', 'pipe', 'pipe'] })
    const { stdout, stderr } = child
    if (!stdout || !stderr) throw new Error('tcpdump has no output')
    const closed = once(child, 'close').then(() => {})
    const capture = new Capture(() => child.kill('SIGINT'), closed)
    const file = new PacketFile()
    stdout.on('data', (data: Buffer) => {
      for (const packet of file.read(data)) capture.#add(packet)
    })
    let said = ''
    await new Promise<void>((resolve, reject) => {
      stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text
        // it says so when the socket is open and has its filter
        if (said.includes('listening on')) resolve()
      })
      closed.then(
        () => reject(new Error(`tcpdump ended: ${said.trim()}`)),
        (error: unknown) => reject(error),
      )
    })
    return capture
  }

  /** The first packet, seen already or yet to come, for which `matches` is true. */
  packet(matches: (packet: Packet) => boolean, signal: AbortSignal): Promise<Packet> {
    const seen = this.packets.find(matches)
    if (seen) return Promise.resolve(seen)
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#waiting.delete(waiting)
        signal.removeEventListener('abort', onabort)
      }
      const onabort = () => waiting.failed(signal.reason)
      const waiting: Waiting = {
        matches,
        found: (packet) => {
          end()
          resolve(packet)
        },
        failed: (error) => {
          end()
          reject(error)
        },
      }
      this.#waiting.add(waiting)
      signal.addEventListener('abort', onabort, { once: true })
      if (signal.aborted) onabort()
    })
  }

  /** Ends it; afterwards `packets` is complete. */
  async stop(): Promise<void> {
    this.#stop()
    await this.#stopped
  }

  #add(packet: Packet): void {
    this.packets.push(packet)
    for (const { matches, found } of [...this.#waiting]) if (matches(packet)) found(packet)
  }
}
