import type { ChildProcess } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import type { Lab, Machine } from './index.js'

/** The built program. */
export const PROGRAM = fileURLToPath(new URL('../../bin/cli/main.js', import.meta.url))
const EXCHANGE = fileURLToPath(new URL('../../bin/cli/demo-exchange.js', import.meta.url))

const STUN_PORT = 3478
const DHT_PORT = 49_737
/** How many nodes the DHT of the laboratory has, each on an address of its own. */
const DHT_NODES = 3

/** How long anything may take that has to happen, in ms. */
const PATIENCE = 90_000

/** One line of a log. */
export interface Event {
  /** ms since 1970-01-01 UTC */
  readonly time: number
  readonly level: string
  readonly msg: string
  readonly session?: string
  readonly code?: unknown
  /** Over which rendezvous, where a line is about one of several. */
  readonly rendezvous?: string
}

/** A plexus process, and what it has logged so far. */
export class Process {
  readonly child: ChildProcess
  /** When it was started, in ms since 1970-01-01 UTC. */
  readonly started = systemClock.date()
  readonly events: Event[] = []
  /** Lines that are no log: what is shown to a person. */
  readonly lines: string[] = []
  /** Resolves with the exit code, or 128 and the number of the signal. */
  readonly ended: Promise<number>
  readonly #waiting = new Set<() => void>()

  constructor(machine: Machine, args: readonly string[]) {
    this.child = machine.spawn(process.execPath, [PROGRAM, ...args, '--log-format=json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code) => {
        resolve(code ?? 128)
        for (const wake of this.#waiting) wake()
      })
    })
    for (const input of [this.child.stdout, this.child.stderr]) {
      if (input) createInterface({ input }).on('line', (line) => this.#take(line))
    }
  }

  /** The first event that matches, now or later. @throws Error if the process ends, or time runs out, before */
  event(matches: (event: Event) => boolean): Promise<Event> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.events.find(matches)
        if (found) done(() => resolve(found))
        else if (this.child.exitCode !== null || this.child.signalCode !== null) {
          done(() => reject(new Error(`the process ended too early:\n${this.story()}`)))
        }
      }
      const cancel = systemClock.timer(PATIENCE, () => {
        done(() => reject(new Error(`it did not happen:\n${this.story()}`)))
      })
      const done = (settle: () => void) => {
        cancel()
        this.#waiting.delete(look)
        settle()
      }
      this.#waiting.add(look)
      look()
    })
  }

  said(pattern: RegExp, session?: string): Promise<Event> {
    return this.event(
      (event) => pattern.test(event.msg) && (session === undefined || event.session === session),
    )
  }

  /** All that was logged, for the message of a failure. */
  story(): string {
    const told = this.events.map(
      ({ time, level, session, msg }) => `+${time - this.started} ${level} [${session ?? ''}] ${msg}`,
    )
    return [...told, ...this.lines].join('\n')
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.child.kill(signal)
    await this.ended
  }

  #take(line: string): void {
    try {
      const { time, level, msg, session, code, rendezvous } = JSON.parse(line) as Event
      if (typeof msg !== 'string') throw new TypeError('no log line')
      this.events.push({
        time,
        level,
        msg,
        ...(session === undefined ? {} : { session }),
        code,
        ...(rendezvous === undefined ? {} : { rendezvous }),
      })
    } catch {
      this.lines.push(line)
    }
    for (const wake of this.#waiting) wake()
  }
}

/** How one pairing went; times in ms since the inviter's process was started. */
export interface Outcome {
  /** Both commands ran and exchanged data through the hole. */
  readonly paired: boolean
  /** When both commands ran. */
  readonly both: number
  readonly parts: { readonly name: string; readonly at: number }[]
  /** The inviter's exit code. */
  readonly code: number
  /** What both sides logged. */
  readonly story: string
}

/** The marks of a pairing in the inviter's log, in order. */
const MARKS: readonly (readonly [string, RegExp])[] = [
  ['start-up', /^inviting /],
  ['STUN', /^public endpoint /],
  ['answered', /^\S+ answered$/],
  ['punched', /^punched in/],
  ['command', /^the command runs/],
]

/** Servers, identities and real plexus processes in a laboratory. */
export class PairingRig {
  readonly directory: string
  readonly #lab: Lab
  readonly #processes: Process[] = []
  /** The last one of each host, application and state directory. */
  readonly #accepters = new Map<string, Process>()
  /** The STUN server over IPv4. */
  stun: Process | undefined
  /** The nodes of the DHT, the bootstrap node first. */
  readonly nodes: Process[] = []

  private constructor(lab: Lab, directory: string) {
    this.#lab = lab
    this.directory = directory
  }

  /** Starts the servers and makes the identities. */
  static async open(lab: Lab, names: readonly string[]): Promise<PairingRig> {
    const rig = new PairingRig(lab, await mkdtemp(join(tmpdir(), 'plexus-rig-')))
    for (const name of names) await rig.identity(name)
    await rig.startStun()
    const stun6 = rig.run(lab.servers, ['stun-server', `--listen=${rig.stunServer6}`])
    await stun6.said(/^STUN server on/)
    for (const index of rig.#dhtAddresses().keys()) await rig.startNode(index)
    return rig
  }

  /** Starts the STUN server, again if it ended. */
  async startStun(): Promise<void> {
    const { servers } = this.#lab
    const [first, second] = servers.addresses
    this.stun = this.run(servers, [
      'stun-server',
      `--listen=${first}:${STUN_PORT}`,
      `--alternate=${second}:${STUN_PORT + 1}`,
    ])
    await this.stun.said(/^STUN server on/)
  }

  /** Starts a node of the DHT, again if it ended: it comes back with nothing that it held. @param index 0 is the bootstrap node */
  async startNode(index: number): Promise<void> {
    const bootstrap = index === 0 ? [] : [`--dht-bootstrap=${this.bootstrap}`]
    const listen = `--listen=${this.#dhtAddresses()[index]}:${DHT_PORT}`
    const node = this.run(this.#lab.servers, ['dht-node', listen, ...bootstrap])
    this.nodes[index] = node
    await node.said(/^DHT node on/)
  }

  get repository(): string {
    return join(this.directory, 'repo')
  }

  get bootstrap(): string {
    return `${this.#dhtAddresses()[0]}:${DHT_PORT}`
  }

  get stunServer(): string {
    return `${this.#lab.servers.addresses[0]}:${STUN_PORT}`
  }

  /** The other address of the same server: who asks both can compare the answers. */
  get otherStunServer(): string {
    return `${this.#lab.servers.addresses[1]}:${STUN_PORT + 1}`
  }

  get stunServer6(): string {
    return `[${this.#lab.servers.addresses6[0]}]:${STUN_PORT}`
  }

  /** The command that exchanges a message through the hole. */
  get exchange(): string {
    return EXCHANGE
  }

  async identity(name: string, repository = this.repository): Promise<void> {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    await createIdentity(repository, parseIdentity(name), options)
  }

  /** The flags of a side whose command exchanges a message with its peer's. */
  flags(host: string, more: readonly string[] = []): string[] {
    const flags = {
      'app-repo': this.repository,
      'app-id': 'lab',
      'host-info': host,
      'stun-server': this.stunServer,
      'dht-bootstrap': this.bootstrap,
      'state-dir': join(this.directory, 'state'),
      'exec-command': process.execPath,
      'exec-args': `${EXCHANGE} %innerip% %innerport% %peerip% %peerport% ${host.replace('/', '.')}`,
      'log-level': 'debug',
    }
    const given = new Set(more.map((flag) => flag.slice(2).split('=')[0]))
    // with a tunnel of its own there is no command
    const tunnel = ['export', 'import', 'stdio'].some((name) => given.has(name))
    const own = Object.entries(flags).filter(
      ([name]) => !given.has(name) && !(tunnel && name.startsWith('exec-')),
    )
    return [...own.map(([name, value]) => `--${name}=${value}`), ...more]
  }

  /** Starts a plexus process on a machine; closing the rig ends it. */
  run(machine: Machine, args: readonly string[]): Process {
    const made = new Process(machine, args)
    this.#processes.push(made)
    return made
  }

  /** Starts an accepter and waits until it can be invited. One that a test that failed has left running is ended before. */
  async accepter(machine: Machine, host: string, more: readonly string[] = []): Promise<Process> {
    const own = this.flags(host, more).filter((flag) => /^--(?:host-info|app-id|state-dir)=/.test(flag))
    const place = own.sort().join(' ')
    await this.#accepters.get(place)?.stop('SIGKILL')
    const made = this.run(machine, ['--accept', ...this.flags(host, more)])
    this.#accepters.set(place, made)
    await made.said(/^ready/)
    return made
  }

  inviter(machine: Machine, host: string, peer: string, more: readonly string[] = []): Process {
    return this.run(machine, [...this.flags(host, more), `--peer-info=${peer}`])
  }

  /** Invites once, and waits for what comes of it on both sides. */
  async pair(
    machine: Machine,
    host: string,
    peer: string,
    accepter: Process,
    more: readonly string[] = [],
  ): Promise<Outcome> {
    return await this.outcome(this.inviter(machine, host, peer, more), accepter)
  }

  async outcome(inviter: Process, accepter: Process): Promise<Outcome> {
    const code = await inviter.ended
    const session = inviter.events.find((event) => event.session !== undefined)?.session
    const from = (event: Event) => event.time - inviter.started
    const parts = MARKS.flatMap(([name, pattern]) => {
      const found = inviter.events.find(({ msg }) => pattern.test(msg))
      return found ? [{ name, at: from(found) }] : []
    }).sort((one, two) => one.at - two.at)
    const ofSession = () => accepter.events.filter((event) => event.session === session)
    let paired = code === 0
    let both = Number.NaN
    if (paired) {
      try {
        const theirs = await accepter.said(/^the command runs/, session)
        const end = await accepter.said(/^the command exited/, session)
        paired = /with code 0/.test(end.msg)
        both = Math.max(from(theirs), parts.find(({ name }) => name === 'command')?.at ?? Number.NaN)
      } catch {
        paired = false
      }
    }
    const told = ofSession().map((event) => `+${from(event)} ${event.level} ${event.msg}`)
    return { paired, both, parts, code, story: `inviter:\n${inviter.story()}\naccepter:\n${told.join('\n')}` }
  }

  /** Removes what was remembered of paths that worked; processes that run still know it. */
  async forget(): Promise<void> {
    const state = join(this.directory, 'state')
    for (const name of await readdir(state)) await rm(join(state, name, 'paths'), { force: true })
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map((one) => one.stop('SIGKILL')))
    await rm(this.directory, { recursive: true, force: true })
  }

  #dhtAddresses(): readonly string[] {
    return this.#lab.servers.addresses.slice(2, 2 + DHT_NODES)
  }
}
