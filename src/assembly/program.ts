import { join } from 'node:path'
import {
  type AccepterSettings,
  type DaemonSettings,
  keepInviting,
  runAccepter,
  runInviter,
} from '../daemon/index.js'
import { formatIdentity, type Host, type IdentityName, Repository } from '../identity/index.js'
import { lockDirectory, openStateFolder } from '../place/index.js'
import { Forwarding, type Near, requireTunnels } from '../wormhole/index.js'
import { bindOf, tryPort } from './bind.js'
import { dialectOf } from './dialect.js'
import { announceImports } from './forwards.js'
import { resolveHost, resolveNamed } from './named.js'
import { watchNat } from './nat-watch.js'
import { OneConnection } from './one-connection.js'
import type { Outside } from './outside.js'
import { ServiceKeeper } from './service-keeper.js'
import { type Assembled, assemble, stateOwner } from './session.js'
import type { ProgramSettings, RoleSettings, UseSettings } from './settings.js'

/** What a program tells, and takes from, whoever runs it. */
export interface ProgramHooks {
  /** Takes a passage that nothing is done with, as `KEY=value` lines. */
  readonly print: (lines: string) => void
  /** Opens the near end of the one connection, once there is a tunnel: nothing is read before. */
  readonly near: () => Near
  /** Everything of this machine is as it should be; what comes now is seen by others. */
  readonly onReady?: () => void
  /** Watches a forwarding that is open, until the returned function is called. */
  readonly watch?: (forwarding: Forwarding) => () => void
}

/**
 * A program that pairs, as inviter or accepter, with a command, forwarded services, or a passage that is printed.
 *
 * Its calls, in this order: `open`, `run` once, `close`.
 */
export class Program {
  readonly #settings: ProgramSettings
  readonly #parts: Parts
  readonly #hooks: ProgramHooks
  readonly #outside: Outside

  private constructor(settings: ProgramSettings, parts: Parts, hooks: ProgramHooks, outside: Outside) {
    this.#settings = settings
    this.#parts = parts
    this.#hooks = hooks
    this.#outside = outside
  }

  /**
   * Opens everything that the settings name. What can be wrong with this machine is found before anything is sent: the
   * repository, the certificates, the state directory and its lock, the port, the listening sockets.
   * @throws PlexusError for each of them, and what the rendezvous throws; then nothing is left open
   */
  static async open(settings: ProgramSettings, outside: Outside, hooks: ProgramHooks): Promise<Program> {
    const { app, use, network, state } = settings
    const { clock, log, budget } = outside
    const { repository, host, peer } = await identitiesOf(settings, outside)
    if (use.is === 'services' || use.is === 'connection') requireTunnels()
    const around = { repository, host: host.name, peer, clock, log }
    const keeper = use.is === 'services' ? new ServiceKeeper(use, around) : undefined
    const plan = await keeper?.plan()
    const directory = await openStateFolder(state, stateOwner(app, host.name))
    const role = roleOf(settings.role, peer)
    const unlock =
      role.is === 'accepter'
        ? await lockDirectory(directory, `An accepter of ${formatIdentity(host.name)} for '${app}'`, log)
        : async () => {}
    let forwarding: Forwarding | undefined
    try {
      const bind = bindOf(network.bind)
      const scope = {}
      await tryPort(bind)
      // who comes early waits for the first tunnel, and a port that is taken is found before anything is sent
      if (plan) {
        forwarding = await Forwarding.open(plan, { clock, log, scope, budget })
        announceImports(plan.imports, log)
      }
      hooks.onReady?.()
      const session = await assemble(settings, { repository, host, directory }, outside, {
        bind,
        scope,
        watchNat: () => watchNat(network, state, outside, role.is),
      })
      const unwatch = (forwarding && hooks.watch?.(forwarding)) ?? (() => {})
      const unkeep = (forwarding && keeper?.run(forwarding)) ?? (() => {})
      const carrier = carrierOf(use, forwarding, hooks)
      return new Program(
        settings,
        {
          role,
          directory,
          session,
          carrier,
          unkeep,
          unwatch,
          unlock,
        },
        hooks,
        outside,
      )
    } catch (thrown) {
      await forwarding?.close()
      await unlock()
      throw thrown
    }
  }

  /**
   * Pairs, and does what is to be done with each passage, until it is over or the signal aborts.
   * @returns the exit code
   * @throws PlexusError if the one pairing or the start of its command fails; the signal's reason
   */
  async run(signal: AbortSignal): Promise<number> {
    const { role, carrier, directory } = this.#parts
    const settings = await this.#daemonSettings()
    if (role.is === 'accepter') {
      const { peers, onRepeat, once } = role
      const seenFile = join(directory, 'seen')
      return await runAccepter({ ...settings, peers, onRepeat, seenFile, once }, { signal })
    }
    const { peer, again } = role
    const code = await endedWell(
      (again ? keepInviting : runInviter)(settings, peer, { signal }),
      again && carrier instanceof Forwarding ? signal : undefined,
    )
    if (carrier instanceof OneConnection && carrier.failure && !signal.aborted) throw carrier.failure
    return code
  }

  /** Ends what goes through its services, says what is still to be said, and lets go of everything. */
  async close(): Promise<void> {
    const { carrier, unkeep, unwatch, session, unlock } = this.#parts
    try {
      unkeep()
      if (carrier instanceof Forwarding) await carrier.close()
      unwatch()
      await session.close()
    } finally {
      await unlock()
    }
  }

  async #daemonSettings(): Promise<DaemonSettings> {
    const { use, dialect } = this.#settings
    const { role, carrier, directory, session } = this.#parts
    const { context } = session
    const accept = role.is === 'accepter'
    const peer = role.is === 'inviter' ? role.peer : undefined
    // a peer of plexus 3 has no tunnel: what forwards speaks the native language alone
    const spoken = carrier ? undefined : await dialectOf(dialect, context, { accept, peer, directory })
    return {
      context,
      command: use.is === 'command' ? use.command : undefined,
      ...(carrier ? { carrier } : {}),
      environment: this.#outside.environment ?? {},
      ...(spoken ? { dialect: spoken } : {}),
      print: this.#hooks.print,
    }
  }
}

/** What is open while a program runs. */
interface Parts {
  readonly role: Role
  /** The folder of this identity and application. */
  readonly directory: string
  readonly session: Assembled
  /** What has the passages, if it is a tunnel of this program. */
  readonly carrier: Forwarding | OneConnection | undefined
  readonly unkeep: () => void
  readonly unwatch: () => void
  readonly unlock: () => Promise<void>
}

/** The role of the settings, with whom they mean. */
type Role =
  | { readonly is: 'inviter'; readonly peer: IdentityName; readonly again: boolean }
  | (Pick<AccepterSettings, 'peers' | 'onRepeat'> & { readonly is: 'accepter'; readonly once: boolean })

function roleOf(role: RoleSettings, peer: IdentityName | undefined): Role {
  if (role.is === 'accepter') return { ...role, peers: peer && [peer] }
  if (peer === undefined) throw new Error('an inviter names its peer')
  return { ...role, peer }
}

function carrierOf(
  use: UseSettings,
  forwarding: Forwarding | undefined,
  { near }: ProgramHooks,
): Parts['carrier'] {
  return use.is === 'connection' ? new OneConnection(use.service, near) : forwarding
}

/** Who this side is, and whom it pairs with if that is said. */
interface Identities {
  readonly repository: Repository
  readonly host: Host
  readonly peer: IdentityName | undefined
}

/** Reads who is meant. What others decide on is refused by the repository. @throws PlexusError */
async function identitiesOf(settings: ProgramSettings, { clock, log }: Outside): Promise<Identities> {
  const { role, dialect } = settings
  const repository = await Repository.open(settings.repository)
  const name = await resolveHost(repository, settings.host)
  if (settings.host === undefined) {
    log.info({}, `your identity is ${formatIdentity(name)}, the only one with a private key`)
  }
  const peer = role.peer && (await resolveNamed(repository, role.peer))
  const host = await repository.host(name)
  // without a certificate a peer can be spoken with in the plain mail of plexus 3.x at most
  if (peer && !dialect.allowPlain) await repository.certificate(peer, { host: name, date: clock.date() })
  return { repository, host, peer }
}

/** A forwarding that goes on for ever is ended by a signal, and that is no failure. */
async function endedWell(running: Promise<number>, signal: AbortSignal | undefined): Promise<number> {
  try {
    const code = await running
    return signal?.aborted ? 0 : code
  } catch (thrown) {
    if (signal?.aborted) return 0
    throw thrown
  }
}
