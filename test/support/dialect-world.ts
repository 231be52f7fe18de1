import { rmSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AccepterSettings, runAccepter, runInviter } from '../../src/daemon/index.js'
import { DialectChoice, NativePeers } from '../../src/dialect/index.js'
import { createIdentity, type Dialect, parseIdentity, Repository } from '../../src/identity/index.js'
import { type Clock, type Endpoint, formatEndpoint, Governor, UdpPort } from '../../src/net/index.js'
import type { PairingContext } from '../../src/pairing/index.js'
import {
  handshake,
  openEntity,
  type PeerMessage,
  readMail,
  readMessage,
  sealEntity,
  writeMail,
} from '../../src/plexus3/index.js'
import { StunServer } from '../../src/stun/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { MemoryLog } from './log.js'
import { LetterPlace } from './memory-letters.js'
import { MeetingPlace } from './memory-rendezvous.js'

export const OURS = parseIdentity('bob@example.com/server')
export const THEIRS = parseIdentity('alice@example.com/laptop')
export const APP = 'test'

/** What is other than usual about one side. */
export interface Side {
  readonly dialect?: Dialect
  readonly allowPlain?: boolean
  /** What stands for the name of the state, which outlasts a restart. */
  readonly state?: string
  readonly context?: Partial<PairingContext>
  readonly settings?: Partial<AccepterSettings>
}

/** A running accepter, OURS. */
export interface Running {
  readonly log: MemoryLog
  readonly printed: string[]
  stop(): Promise<void>
}

let made: Promise<string> | undefined

/** A repository with both identities, made once: RSA keys take their time. */
function template(): Promise<string> {
  made ??= (async () => {
    const path = await mkdtemp(join(tmpdir(), 'plexus-dialect-keys-'))
    process.once('exit', () => rmSync(path, { recursive: true, force: true }))
    for (const name of [OURS, THEIRS]) {
      await createIdentity(path, name, { key: 'rsa', random: systemRandom, date: systemClock.date() })
    }
    return path
  })()
  return made
}

/** Two identities with RSA keys, a STUN server, and places for mail and for native messages, all on loopback. */
export class DialectWorld {
  readonly letters = new LetterPlace(() => systemClock.date())
  readonly #native = new MeetingPlace()
  readonly directory: string
  readonly stun: StunServer
  readonly repository: Repository
  readonly #stops = new Set<() => Promise<void>>()

  private constructor(directory: string, stun: StunServer, repository: Repository) {
    this.directory = directory
    this.stun = stun
    this.repository = repository
  }

  static async create(): Promise<DialectWorld> {
    const directory = await mkdtemp(join(tmpdir(), 'plexus-dialect-'))
    const path = join(directory, 'repo')
    await cp(await template(), path, { recursive: true })
    const listen = { address: '127.0.0.1', port: 0 }
    const stun = await StunServer.open({ listen, log: new MemoryLog() })
    return new DialectWorld(directory, stun, await Repository.open(path))
  }

  async settings(name: typeof OURS, side: Side, log: MemoryLog, printed: string[]) {
    const [server] = this.stun.endpoints
    const rendezvous = Object.assign(this.#native.rendezvous(), { letters: this.letters.letters() })
    const context: PairingContext = {
      clock: systemClock,
      random: systemRandom,
      log,
      repository: this.repository,
      host: side.context?.host ?? (await this.repository.host(name)),
      app: APP,
      rendezvous,
      stunServers: server ? [formatEndpoint(server)] : [],
      bind: { address: '127.0.0.1' },
      governor: new Governor(),
      hops: 7,
      timeout: 20_000,
      ...side.context,
    }
    const directory = join(this.directory, side.state ?? `state-${name.pin}`)
    const choice = new DialectChoice(context.repository, side.dialect ?? 'native', log)
    const natives = new NativePeers(join(directory, 'native-peers'), log)
    const { allowPlain = false } = side
    return {
      context,
      command: undefined,
      environment: {},
      print: (lines: string) => void printed.push(lines),
      dialect: { choice, natives, allowPlain, directory },
      peers: undefined,
      onRepeat: 'replace' as const,
      seenFile: join(directory, 'seen'),
      ...side.settings,
    }
  }

  /** Starts the accepter. */
  async accepter(side: Side = {}): Promise<Running> {
    const log = new MemoryLog()
    const printed: string[] = []
    const controller = new AbortController()
    const settings = await this.settings(side.context?.host?.name ?? OURS, side, log, printed)
    const running = runAccepter(settings, { signal: controller.signal })
    const stop = async () => {
      controller.abort()
      await running
    }
    this.#stops.add(stop)
    await log.until(/ready for invites/)
    return { log, printed, stop }
  }

  /** Invites OURS as THEIRS; what is printed of the passage. */
  async invite(side: Side = {}, log = new MemoryLog(), controller = new AbortController()): Promise<string> {
    const { signal } = controller
    const printed: string[] = []
    await runInviter(await this.settings(THEIRS, side, log, printed), OURS, { signal })
    return printed.join('')
  }

  /** Writes the word to the file of a peer. */
  async setDialect(peer: typeof OURS, word: string): Promise<void> {
    await writeFile(this.repository.paths(peer).dialect, word)
  }

  /** A mail of THEIRS to OURS around that line. */
  async mail(line: string, kind: 'invite' | 'accept' = 'invite', form: 'sealed' | 'plain' = 'sealed') {
    const theirs = await this.repository.host(THEIRS)
    const { certificate } = await this.repository.host(OURS)
    const entity = form === 'plain' ? line : await sealEntity(line, theirs, certificate)
    return writeMail({ from: THEIRS, to: OURS, app: APP, kind, entity })
  }

  /** What OURS says in a mail to THEIRS. */
  async read(text: string): Promise<PeerMessage> {
    const theirs = await this.repository.host(THEIRS)
    const { certificate } = await this.repository.host(OURS)
    return readMessage(openEntity(readMail(text, APP).entity, theirs, certificate).text)
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) await stop()
    await this.stun.close()
    await rm(this.directory, { recursive: true, force: true })
  }
}

/** A peer's port on loopback, and its handshake as inviter. */
export class PeerPort {
  readonly port = UdpPort.open({ address: '127.0.0.1' })

  get endpoint(): Endpoint {
    const local = this.port.local(4)
    if (!local) throw new Error('not bound')
    return local
  }

  async shake(peer: Endpoint, secret: bigint, clock: Clock = systemClock): Promise<void> {
    const common = { clock, random: systemRandom, log: new MemoryLog(), hops: 7, timeout: 20_000 }
    const { signal } = new AbortController()
    await handshake(this.port, { ...common, role: 'inviter', secret, peer, signal })
  }
}
