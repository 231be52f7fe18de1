import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createIdentity, parseIdentity } from '../../../src/identity/index.js'
import { formatEndpoint, silent, sleep } from '../../../src/net/index.js'
import { StunServer } from '../../../src/stun/index.js'
import { systemClock, systemRandom } from '../../../src/system/index.js'
import { Program } from '../program.js'
import { Service } from '../services.js'
import type { Task } from './attacks.js'

const ATTACKER = fileURLToPath(new URL('./attacker.js', import.meta.url))

const BOB = 'bob@px.test/server'
const ALICE = 'alice@px.test/laptop'
const CAROL = 'carol@px.test/phone'
const MALLORY = 'mallory@px.test/laptop'
const STRANGER = 'stranger@px.test/box'

/** A place where an accepter serves an honest peer over a tunnel, while others do what they like; all on one machine. */
export class Stage {
  readonly #directory: string
  readonly #stun: StunServer
  readonly #services: readonly Service[]
  readonly accepter: Program
  readonly #tunnel: Program
  readonly #ports: readonly number[]

  private constructor(parts: {
    directory: string
    stun: StunServer
    services: readonly Service[]
    accepter: Program
    tunnel: Program
    ports: readonly number[]
  }) {
    this.#directory = parts.directory
    this.#stun = parts.stun
    this.#services = parts.services
    this.accepter = parts.accepter
    this.#tunnel = parts.tunnel
    this.#ports = parts.ports
  }

  /** @param options how many descriptors the accepter may have, and another copy of the program for it */
  static async open({ descriptors, main }: { descriptors?: number; main?: string } = {}): Promise<Stage> {
    const directory = await mkdtemp(join(tmpdir(), 'plexus-hostile-'))
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    const repository = join(directory, 'repo')
    for (const name of [BOB, ALICE, CAROL, MALLORY]) {
      await createIdentity(repository, parseIdentity(name), options)
    }
    await createIdentity(join(directory, 'elsewhere'), parseIdentity(STRANGER), options)
    const stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
    const services = [
      await Service.echo(),
      await Service.open((socket) => socket.resume()),
      await Service.echo(),
    ]
    const [echo, sink, target] = services.map(({ port }) => port)
    const flags = (host: string) => flagsOf(directory, stun, host)
    const exports = [`--export=echo=${echo}`, `--export=sink=${sink}`, `--export=target=${target}`]
    const under = descriptors === undefined ? [] : ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh']
    const other = main === undefined ? {} : { main }
    const accepter = new Program([...flags(BOB), '--accept', ...exports], { under, ...other })
    await accepter.said(/ready for invites/)
    const ports = [await freePort(), await freePort()]
    const imports = [`--import=echo=${ports[0]}`, `--import=sink=${ports[1]}`]
    const tunnel = new Program([...flags(ALICE), `--peer-info=${BOB}`, ...imports])
    await tunnel.said(/the tunnel stands|tunnel up/).catch(async (thrown: unknown) => {
      await accepter.end()
      throw thrown
    })
    return new Stage({ directory, stun, services, accepter, tunnel, ports })
  }

  /** Sets attacks going. @param service the one that they are about @param nice how much CPU time they leave to others @returns what ends them */
  async attack(names: readonly string[], service = 'target', nice = 19): Promise<() => Promise<void>> {
    const [server] = this.#stun.endpoints
    const task: Task = {
      repository: join(this.#directory, 'repo'),
      elsewhere: join(this.#directory, 'elsewhere'),
      me: MALLORY,
      stranger: STRANGER,
      peer: BOB,
      app: 'plexus',
      stun: server ? formatEndpoint(server) : '',
      service,
    }
    // somebody else's machine is meant: what it computes is not to be taken from what is measured
    const words = [
      '-n',
      `${nice}`,
      process.execPath,
      ATTACKER,
      JSON.stringify(task),
      `dir:${join(this.#directory, 'post')}`,
    ]
    const child: ChildProcess = spawn('nice', [...words, ...names], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(child, 'exit')
    if (child.stdout) await Promise.race([once(child.stdout, 'data'), ended])
    return async () => {
      child.kill('SIGTERM')
      const cancel = systemClock.timer(2000, () => child.kill('SIGKILL'))
      await ended
      cancel()
    }
  }

  /** Has another peer pair and let go again, as a program would. @returns how long it took, in ms; NaN if it did not */
  async pair(): Promise<number> {
    const started = systemClock.now()
    const program = new Program(['ping', BOB, '--count=1', ...flagsOf(this.#directory, this.#stun, CAROL)])
    const { code, stderr } = await program.ended
    if (code === 0) return systemClock.now() - started
    process.stderr.write(stderr)
    return Number.NaN
  }

  /** Round trips of 64 bytes through the honest tunnel, one after the other every 10 ms. @returns all of them, in ms */
  async echoes(ms: number): Promise<number[]> {
    const socket = await this.#connect(0)
    const took: number[] = []
    const until = systemClock.now() + ms
    while (systemClock.now() < until) {
      const sent = systemClock.now()
      socket.write(Buffer.alloc(64, 1))
      for (let got = 0; got < 64; ) {
        const [data] = (await next(socket, 'data', until)) as [Buffer?]
        if (data === undefined) return [...took, Number.POSITIVE_INFINITY]
        got += data.length
      }
      took.push(systemClock.now() - sent)
      await sleep(systemClock, 10)
    }
    socket.destroy()
    return took
  }

  /** What the honest tunnel carries towards the accepter. @returns Mbit/s */
  async throughput(ms: number): Promise<number> {
    const socket = await this.#connect(1)
    const block = Buffer.alloc(64 * 1024, 3)
    const started = systemClock.now()
    let written = 0
    while (systemClock.now() < started + ms) {
      written += block.length
      if (!socket.write(block)) await next(socket, 'drain', started + ms)
      if (socket.destroyed) break
    }
    socket.destroy()
    return (written * 8) / Math.max(ms, systemClock.now() - started) / 1000
  }

  /** How many descriptors the accepter has open. */
  get descriptors(): number {
    return readdirSync(`/proc/${this.accepter.process.pid}/fd`).length
  }

  /** How many connections the service that echoes has. */
  get connections(): number {
    return this.#services[0]?.taken.filter(({ destroyed }) => !destroyed).length ?? 0
  }

  /** How many lines the accepter has logged. */
  get lines(): number {
    return this.accepter.stderr.split('\n').length
  }

  async close(): Promise<void> {
    await this.#tunnel.end()
    await this.accepter.end()
    await this.#stun.close()
    for (const service of this.#services) await service.close()
    await rm(this.#directory, { recursive: true, force: true })
  }

  async #connect(which: number): Promise<Socket> {
    const socket = connect(this.#ports[which] ?? 0, '127.0.0.1')
    socket.setNoDelay(true)
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
}

/** How much longer than it may take something is waited for, in ms. */
const LATE = 2000

/** What comes with the next event of a socket; nothing if it closes before, or does not say anything until a while after `until`. */
async function next(socket: Socket, name: 'data' | 'drain', until: number): Promise<unknown[]> {
  const over = new AbortController()
  const end = () => over.abort()
  const cancel = systemClock.timer(until + LATE - systemClock.now(), end)
  socket.once('close', end)
  try {
    return socket.destroyed ? [] : await once(socket, name, { signal: over.signal })
  } catch {
    return []
  } finally {
    cancel()
    socket.off('close', end)
  }
}

/** A port that nobody has just now. */
async function freePort(): Promise<number> {
  const service = await Service.echo()
  await service.close()
  return service.port
}

function flagsOf(directory: string, stun: StunServer, host: string): string[] {
  const [server = { address: '', port: 0 }] = stun.endpoints
  return [
    `--app-repo=${join(directory, 'repo')}`,
    `--host-info=${host}`,
    `--rendezvous=dir:${join(directory, 'post')}`,
    `--stun-server=${formatEndpoint(server)}`,
    `--state-dir=${join(directory, `state-${host.replace('/', '_')}`)}`,
  ]
}
