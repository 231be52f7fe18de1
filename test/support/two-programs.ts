import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { formatEndpoint, silent } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { Program, type ProgramOptions } from './program.js'

export const SERVER = 'bob@example.com/server'
export const LAPTOP = 'alice@example.com/laptop'
export const PHONE = 'alice@example.com/phone'

/** Real programs on one machine that pair over a shared directory. */
export class TwoPrograms {
  readonly directory: string
  readonly #stun: StunServer
  readonly #running: Program[] = []

  private constructor(directory: string, stun: StunServer) {
    this.directory = directory
    this.#stun = stun
  }

  static async create(): Promise<TwoPrograms> {
    const directory = await mkdtemp(join(tmpdir(), 'plexus-programs-'))
    const stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    for (const name of [SERVER, LAPTOP, PHONE]) {
      await createIdentity(join(directory, 'repo'), parseIdentity(name), options)
    }
    return new TwoPrograms(directory, stun)
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** The flags by which a program is this identity here. */
  flags(host: string): string[] {
    const [server = { address: '', port: 0 }] = this.#stun.endpoints
    return [
      `--app-repo=${this.path('repo')}`,
      `--host-info=${host}`,
      `--rendezvous=dir:${this.path('post')}`,
      `--stun-server=${formatEndpoint(server)}`,
      `--state-dir=${this.path('state')}`,
    ]
  }

  start(host: string, flags: readonly string[], options: ProgramOptions = {}): Program {
    const program = new Program([...this.flags(host), ...flags], options)
    this.#running.push(program)
    return program
  }

  /** An accepter that is ready for invites. */
  async accepter(...flags: string[]): Promise<Program> {
    const program = this.start(SERVER, ['--accept', ...flags])
    await program.said(/ready for invites/)
    return program
  }

  inviter(...flags: string[]): Program {
    return this.start(LAPTOP, [`--peer-info=${SERVER}`, ...flags])
  }

  /** Ends all that still runs. */
  async end(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((program) => program.end('SIGTERM')))
  }

  async close(): Promise<void> {
    await this.end()
    await this.#stun.close()
    await rm(this.directory, { recursive: true, force: true })
  }
}
