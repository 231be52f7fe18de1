import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Machine } from '../../test/natlab/machine.js'
import {
  keep,
  namespaceFile,
  removeNamespaces,
  runScript,
  uniquePrefix,
} from '../../test/natlab/namespace.js'

const SOURCE = fileURLToPath(new URL('../../../bench/forward/link.c', import.meta.url))

/** What a link does to packets. */
export interface Quality {
  readonly name: string
  /** The round-trip time that it adds, in ms. */
  readonly roundTrip: number
  /** 0 to 100, of each packet in each direction. */
  readonly loss: number
  /** 0 to 100: how many are overtaken by others, by 1 ms. */
  readonly overtaken: number
  /** A bottleneck each way: its rate in Mbit/s, and how many ms of it may wait before it. */
  readonly bottleneck?: { readonly rate: number; readonly queue: number }
  /** A cable between the two machines instead: what the machine itself can do. */
  readonly bare?: boolean
}

/** What the wire did, both directions together, in packets. */
export interface Carried {
  readonly packets: number
  readonly lost: number
  readonly overtaken: number
  /** Dropped because there were too many at once: the wire was the bottleneck if there are many. */
  readonly overflowed: number
}

/** Bytes that got through from the near machine to the far one, with their IP headers. */
export interface Passed {
  readonly udp: number
  readonly tcp: number
}

/** Where the two machines are on the link. */
export const NEAR = '10.78.0.1'
export const FAR = '10.78.0.2'

/** Packets that wait before the wire, when the machine is faster than it. */
const QUEUE = 10_000

/** Two machines, each a network namespace, with a link between them that has an MTU of 1500. */
export class Link {
  readonly quality: Quality
  readonly near: Machine
  readonly far: Machine
  readonly #release: () => Promise<void>
  readonly #wire: ChildProcess | undefined
  readonly #said: string[]

  private constructor(
    quality: Quality,
    machines: readonly [Machine, Machine],
    release: () => Promise<void>,
    wire: ChildProcess | undefined,
    said: string[],
  ) {
    this.quality = quality
    this.near = machines[0]
    this.far = machines[1]
    this.#release = release
    this.#wire = wire
    this.#said = said
  }

  /**
   * Builds the program that is the wire, unless it is there.
   * @returns its path, or undefined where there is no C compiler
   */
  static build(directory: string): string | undefined {
    const program = join(directory, 'link')
    if (existsSync(program)) return program
    const { status } = spawnSync('gcc', ['-O2', '-o', program, SOURCE], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    return status === 0 ? program : undefined
  }

  /** @param program of `build`; needed unless the link is bare */
  static async open(quality: Quality, program: string | undefined): Promise<Link> {
    const prefix = uniquePrefix()
    const [near, far] = ['near', 'far'].map((name) => new Machine(name, `${prefix}-${name}`, 'wire'))
    if (!near || !far) throw new Error('there are two machines')
    const release = keep(prefix)
    await runScript(`ip netns add ${near.namespace}\nip netns add ${far.namespace}\n`)
    const said: string[] = []
    let wire: ChildProcess | undefined
    if (quality.bare) {
      await runScript(
        `ip -n ${near.namespace} link add wire type veth peer name wire netns ${far.namespace}\n`,
      )
    } else {
      if (program === undefined) throw new Error('this link needs its program')
      wire = await startWire(program, quality, [near, far], said)
    }
    const setup = (machine: Machine, address: string) => `
      ip -n ${machine.namespace} link set lo up
      ip -n ${machine.namespace} link set wire mtu 1500 txqueuelen ${QUEUE} up
      ip -n ${machine.namespace} addr add ${address}/24 dev wire\n`
    await runScript(setup(near, NEAR) + setup(far, FAR))
    return new Link(quality, [near, far], release, wire, said)
  }

  /** What has got through so far; only one may ask at a time. */
  async passed(): Promise<Passed> {
    const wire = this.#wire
    if (!wire) throw new Error('a cable does not count')
    const before = this.#said.length
    wire.stdin?.write('\n')
    while (this.#said.length === before) await once(wire.stdout ?? wire, 'data')
    const [udp = 0, tcp = 0] = (this.#said.at(-1) ?? '').split(' ').map(Number)
    return { udp, tcp }
  }

  /** Ends everything that runs on the two machines, and the machines. */
  async close(): Promise<Carried | undefined> {
    if (this.#wire) {
      const ended = new Promise((resolve) => this.#wire?.once('close', resolve))
      this.#wire.stdin?.end()
      await ended
    }
    await removeNamespaces([this.near.namespace, this.far.namespace])
    await this.#release()
    const [packets, lost, overtaken, overflowed] = (this.#said.at(-1) ?? '').split(' ').map(Number)
    if (packets === undefined || lost === undefined || overtaken === undefined || overflowed === undefined)
      return undefined
    return { packets, lost, overtaken, overflowed }
  }
}

async function startWire(
  program: string,
  { roundTrip, loss, overtaken, bottleneck }: Quality,
  machines: readonly Machine[],
  said: string[],
): Promise<ChildProcess> {
  const files = machines.map(({ namespace }) => namespaceFile(namespace))
  const numbers = [roundTrip * 500, loss * 100, overtaken * 100].map((number) => String(Math.round(number)))
  // bytes per ms, and bytes
  if (bottleneck)
    numbers.push(String(bottleneck.rate * 125), String(bottleneck.rate * 125 * bottleneck.queue))
  const [near] = machines
  if (!near) throw new Error('there are two machines')
  const wire = near.spawn(program, [...files, ...numbers], { stdio: ['pipe', 'pipe', 'inherit'] })
  await new Promise<void>((resolve, reject) => {
    if (wire.stdout)
      createInterface({ input: wire.stdout }).on('line', (line) => {
        said.push(line)
        resolve()
      })
    wire.once('error', reject)
    wire.once('close', () => reject(new Error('the wire broke')))
  })
  return wire
}
