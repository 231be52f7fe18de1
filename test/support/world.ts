import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity, Repository } from '../../src/identity/index.js'
import { type Clock, formatEndpoint, Governor } from '../../src/net/index.js'
import {
  Accepter,
  type AccepterOptions,
  invite,
  type PairingContext,
  type Passage,
} from '../../src/pairing/index.js'
import { mlKem768, SeenSessions } from '../../src/sealing/index.js'
import { StunServer } from '../../src/stun/index.js'
import { MemoryLog } from './log.js'
import { MeetingPlace } from './memory-rendezvous.js'

/** How long a passage that has to come may take, in ms. */
const PATIENCE = 20_000

/** A running accepter of a world. */
export interface RunningAccepter {
  readonly passages: Passage[]
  readonly log: MemoryLog
  /** Resolves with the next passage that has not been taken yet. */
  next(): Promise<Passage>
  stop(): Promise<void>
}

/** Some identities with one repository, a STUN server and a meeting place, all on loopback. */
export class World {
  readonly directory: string
  readonly place = new MeetingPlace()
  readonly stun: StunServer
  readonly #passages: Passage[] = []
  readonly #stops = new Map<string, () => Promise<void>>()

  private constructor(directory: string, stun: StunServer) {
    this.directory = directory
    this.stun = stun
  }

  static async create(names: readonly string[]): Promise<World> {
    const directory = await mkdtemp(join(tmpdir(), 'plexus-world-'))
    const log = new MemoryLog()
    const world = new World(
      directory,
      await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log }),
    )
    for (const name of names) await world.identity(name)
    return world
  }

  get repository(): string {
    return join(this.directory, 'repo')
  }

  async identity(name: string, repository = this.repository): Promise<void> {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    await createIdentity(repository, parseIdentity(name), options)
  }

  async context(name: string, changes: Partial<PairingContext> & { clock?: Clock; path?: string } = {}) {
    const { path = this.repository, ...others } = changes
    const repository = await Repository.open(path)
    const [server] = this.stun.endpoints
    const context: PairingContext = {
      clock: systemClock,
      random: systemRandom,
      log: new MemoryLog(),
      repository,
      host: await repository.host(parseIdentity(name)),
      app: 'test',
      rendezvous: this.place.rendezvous(),
      stunServers: server ? [formatEndpoint(server)] : [],
      bind: {},
      governor: new Governor(),
      kem: mlKem768,
      hops: 7,
      timeout: 10_000,
      ...others,
    }
    return context
  }

  /** Starts an accepter in place of an earlier one of the name; its sessions are remembered across restarts. */
  async accepter(
    name: string,
    changes: Parameters<World['context']>[1] = {},
    options: Partial<AccepterOptions> = {},
  ): Promise<RunningAccepter> {
    await this.#stops.get(name)?.()
    const log = new MemoryLog()
    const context = await this.context(name, { log, ...changes })
    const file = join(this.directory, `seen-${name.replace('/', '_')}`)
    const seen = await SeenSessions.open(file, { clock: context.clock, log })
    const passages: Passage[] = []
    const waiting: ((passage: Passage) => void)[] = []
    const controller = new AbortController()
    const accepter = new Accepter(context, {
      seen,
      supersede: true,
      admit: async () => undefined,
      onPassage: (passage) => {
        this.#passages.push(passage)
        const waiter = waiting.shift()
        if (waiter) waiter(passage)
        else passages.push(passage)
      },
      ...options,
    })
    const running = accepter.run(controller.signal)
    const stop = async () => {
      controller.abort()
      await running
      await seen.close()
    }
    this.#stops.set(name, stop)
    return {
      passages,
      log,
      next: () => {
        const ready = passages.shift()
        if (ready) return Promise.resolve(ready)
        return new Promise((resolve, reject) => {
          const cancel = systemClock.timer(PATIENCE, () =>
            reject(new Error(`no passage:\n${log.lines.join('\n')}`)),
          )
          waiting.push((passage) => {
            cancel()
            resolve(passage)
          })
        })
      },
      stop,
    }
  }

  async invite(
    from: string,
    to: string,
    changes: Parameters<World['context']>[1] = {},
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Passage> {
    const passage = await invite(await this.context(from, changes), parseIdentity(to), { signal })
    this.#passages.push(passage)
    return passage
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.values()) await stop()
    for (const { port } of this.#passages) await port.close()
    await this.stun.close()
    await rm(this.directory, { recursive: true, force: true })
  }
}
