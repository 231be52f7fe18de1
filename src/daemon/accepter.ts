import { TUNNEL_COST } from '../budget/index.js'
import { asPlexusError, PlexusError } from '../errors/index.js'
import { exitStatus, Roster } from '../exec/index.js'
import { checkProgram } from '../files/index.js'
import { formatIdentity, type Host, type IdentityName } from '../identity/index.js'
import { broadController, deadline, type PortRange } from '../net/index.js'
import {
  Accepter,
  discard,
  failedOutcome,
  findBlocked,
  type GiveUp,
  pairedOutcome,
  type RefusalCode,
  ROOM,
  type Room,
  shortSession,
  type Underway,
} from '../pairing/index.js'
import { SeenSessions } from '../sealing/index.js'
import { type Outcome, publish } from '../watch/index.js'
import { Expulsion } from './expulsion.js'
import { type AnyPassage, handOver } from './handover.js'
import { OlderDialect } from './older-dialect.js'
import { PingResponder } from './ping.js'
import { watchRenewal } from './renewal.js'
import type { AccepterSettings, DialectSettings } from './settings.js'

/** When a rendezvous over UDP is so late to be ready, in ms, UDP itself is looked at: nothing else would tell why. */
const READY_PATIENCE = 4000

/** How many identities are named when an accepter says whom it accepts. */
const NAMES_TOLD = 20

/**
 * Accepts invites until the signal aborts, or with `once` until the command of its one pairing has ended, and runs the
 * command on every passage. When it resolves every session and every command has ended.
 * @returns the exit code: with `once` that of the command, else 0
 * @throws PlexusError STATE_DIRECTORY, RENDEZVOUS_FOREIGN and the like, before anything is accepted; with `once` also
 * when the command of the pairing could not be started
 */
export async function runAccepter(
  settings: AccepterSettings,
  options: { readonly signal: AbortSignal },
): Promise<number> {
  const { context, dialect, onRepeat, seenFile } = settings
  const { clock, log } = context
  const { signal } = options
  const seen = await SeenSessions.open(seenFile, { clock, log })
  const roster = new Roster(onRepeat, { log })
  const pings = new PingResponder(context)
  const expulsion = new Expulsion(settings)
  const accepting = new Accepting(settings, { roster, pings, expulsion })
  const follow = () => accepting.end(signal.reason)
  signal.addEventListener('abort', follow, { once: true })
  if (signal.aborted) follow()
  const accepter = new Accepter(context, {
    ...(settings.peers ? { peers: settings.peers } : {}),
    seen,
    supersede: onRepeat === 'replace',
    admit: (peer, underway, purpose) =>
      purpose === 'ping' ? accepting.admitPing(peer, underway) : accepting.admit(peer, underway),
    room: () => accepting.room(),
    onPassage: (passage, giveUp) => accepting.begin(passage, giveUp),
    onPing: (passage) => pings.take(passage),
    ...(dialect ? { speaks: (peer) => speaksNative(dialect, peer) } : {}),
    onFailure: ({ peer, session, error }) => accepting.fail(peer, session, error),
  })
  const older = await OlderDialect.open(settings, accepter, (passage) => accepting.begin(passage)).catch(
    async (thrown: unknown) => {
      signal.removeEventListener('abort', follow)
      await seen.close()
      throw thrown
    },
  )
  void expulsion.run(accepting.signal)
  const adopt = (changed: Host) => {
    accepter.adopt(changed)
    older?.adopt(changed)
  }
  void watchRenewal(context, adopt, accepting.signal)
  const told = tell(settings)
  announceReady(settings, accepting.signal)
  try {
    older?.run(accepting.signal)
    await accepter.run(accepting.signal)
  } finally {
    signal.removeEventListener('abort', follow)
    // whatever ended it, what watches beside it ends too
    accepting.end(new PlexusError('CANCELLED', 'The accepter is stopping.'))
    await pings.close()
    await roster.close(signal.aborted ? asPlexusError(signal.reason, 'CANCELLED') : undefined)
    await accepting.settled()
    await told
    await older?.close()
    await seen.close()
  }
  return accepting.result()
}

/** A peer that has proven to speak the native language: remembered, and refused where it is to be spoken with in another. */
async function speaksNative(
  { choice, natives }: DialectSettings,
  peer: IdentityName,
): Promise<string | undefined> {
  await natives.add(peer)
  if ((await choice.cautious(peer)) !== 'plexus-3') return undefined
  return 'This accepter only uses the plexus-3 dialect with this peer.'
}

/** Says whom the accepter accepts, by the names of directories alone. */
async function tell({ context, peers }: AccepterSettings): Promise<void> {
  const { log, rendezvous, host, app, repository } = context
  const as = `as ${formatIdentity(host.name)} for '${app}' over ${rendezvous.name}`
  if (peers) return log.info({}, `accepting ${peers.map(formatIdentity).join(', ')} ${as}`)
  const own = formatIdentity(host.name)
  const unreadable = ({ code, message }: PlexusError) => log.warn({ code }, message)
  const names = (await repository.list({ unreadable })).map(formatIdentity).filter((name) => name !== own)
  if (names.length === 0) {
    return log.warn({}, `accepting everyone in the repository, which has no peers yet, ${as}`)
  }
  const more = names.length > NAMES_TOLD ? ` and ${names.length - NAMES_TOLD} more` : ''
  log.info({}, `accepting ${names.slice(0, NAMES_TOLD).join(', ')}${more} ${as}`)
}

function announceReady({ context }: AccepterSettings, signal: AbortSignal): void {
  const { clock, log, rendezvous } = context
  const started = clock.now()
  const complain = (thrown: unknown) => {
    if (!signal.aborted) log.warn({ code: asPlexusError(thrown).code }, asPlexusError(thrown).message)
  }
  const settled = new AbortController()
  const waiting = rendezvous.udp ? deadline(clock, READY_PATIENCE, settled.signal) : undefined
  const late = () => {
    waiting?.dispose()
    if (settled.signal.aborted || signal.aborted) return
    findBlocked(context, `${rendezvous.name} does not answer`, signal)
      .then((error) => error && complain(error))
      .catch(complain)
  }
  waiting?.signal.addEventListener('abort', late, { once: true })
  signal.addEventListener('abort', () => settled.abort(), { once: true })
  Promise.resolve(rendezvous.ready?.({ signal }))
    .then(() => log.info({}, `ready for invites after ${Math.round(clock.now() - started)} ms`), complain)
    .finally(() => settled.abort())
}

const ONCE = 'This accepter pairs only once and is already pairing.'
/** The room of an accepter that pairs once. */
const ONE: Room = { ...ROOM, pairing: 1, sentence: ONCE }

const allTaken = ({ size }: PortRange) => `All ${size} ports of this accepter are in use.`
const portTaken = (port: number) => `The port ${port} of this accepter is in use.`

type Refusal = { code: RefusalCode; sentence: string }

/**
 * What an accepter that pairs once has come to: nothing yet, a passage whose command runs, its end, or a command
 * that could not be started.
 */
type Once =
  | { is: 'waiting' }
  | { is: 'paired' }
  | { is: 'over'; exit: number }
  | { is: 'failed'; error: PlexusError }

/** The sessions that became passages, and what their commands came to. */
class Accepting {
  readonly #settings: AccepterSettings
  readonly #roster: Roster
  readonly #pings: PingResponder
  readonly #expulsion: Expulsion
  readonly #controller = broadController()
  readonly #beginning = new Set<Promise<void>>()
  /** The session of the newest passage: an older one that ends has nothing to report any more. */
  #newest: string | undefined
  #once: Once = { is: 'waiting' }

  constructor(
    settings: AccepterSettings,
    { roster, pings, expulsion }: { roster: Roster; pings: PingResponder; expulsion: Expulsion },
  ) {
    this.#settings = settings
    this.#roster = roster
    this.#pings = pings
    this.#expulsion = expulsion
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  end(reason: unknown): void {
    this.#controller.abort(reason)
  }

  /** How many sessions there is room for: what shares a port, or pairs once, is given to one at a time. */
  room(): Room {
    const { once, context } = this.#settings
    const { range, port = 0 } = context.bind
    if (range) {
      const free = Math.max(1, range.size - range.held - this.#pings.size)
      return { ...ROOM, ...(once ? ONE : {}), all: free, sentence: allTaken(range) }
    }
    if (port !== 0) return { ...ROOM, all: 1, sentence: portTaken(port) }
    return once ? ONE : ROOM
  }

  /** Whether a pairing may begin, by what runs and what is under way. */
  async admit(peer: IdentityName, underway: Underway): Promise<Refusal | undefined> {
    const { onRepeat, once, context } = this.#settings
    if (once && (this.#once.is !== 'waiting' || underway.pairings > 0)) {
      return busy(ONCE)
    }
    const missing = missingCommand(this.#settings)
    if (missing) return missing
    if (!this.#roster.mayPair(peer) || (onRepeat === 'refuse' && underway.ofPeer > 0)) {
      const count = this.#roster.runsOf(peer)
      return busy(
        count > 1
          ? `${count} commands or tunnels of this identity are already running.`
          : 'A pairing with this identity is already running.',
      )
    }
    const refusal = this.#roomForTunnel(peer)
    if (refusal) return refusal
    const { range, port = 0 } = context.bind
    if (range) {
      if (this.#portsTaken(range, underway) < range.size) return undefined
      // the peer's own command may hold what it needs
      if (onRepeat === 'replace') await this.#roster.end(peer)
      if (this.#portsTaken(range, underway) < range.size) return undefined
      return busy(allTaken(range))
    }
    if (port === 0) return undefined
    // a fixed port is held by the command that runs on it
    if (onRepeat === 'replace') await this.#roster.end(peer)
    if (this.#roster.size + this.#pings.size + underway.all === 0) return undefined
    return busy(portTaken(port))
  }

  /** Whether the peer may have a further tunnel. One that replaces another has its place. */
  #roomForTunnel(peer: IdentityName): Refusal | undefined {
    const { carrier, onRepeat, context } = this.#settings
    if (carrier === undefined || (onRepeat === 'replace' && this.#roster.runsOf(peer) > 0)) return undefined
    const share = context.budget?.share(formatIdentity(peer))
    const refusal = share?.refusal(context.clock.now(), TUNNEL_COST)
    return refusal && busy(refusal.sentence)
  }

  /** Whether a ping may begin: what runs does not matter to it, but the port that it needs. */
  async admitPing(peer: IdentityName, underway: Underway): Promise<Refusal | undefined> {
    const taken = this.#pings.taken(peer)
    if (taken > 0) return busy(`${taken} pings are already being answered.`)
    const { range, port = 0 } = this.#settings.context.bind
    if (range && this.#portsTaken(range, underway) >= range.size) {
      return busy(allTaken(range))
    }
    if (port === 0 || this.#roster.size + this.#pings.size + underway.all === 0) return undefined
    return busy(portTaken(port))
  }

  /** By commands, by pings that are being answered, and by what is under way. */
  #portsTaken(range: PortRange, underway: Underway): number {
    return range.held + this.#pings.size + underway.all
  }

  fail(peer: IdentityName, session: string, error: PlexusError): void {
    this.#report(failedOutcome(error, { peer, session }))
  }

  /** @param giveUp without it there is no word by which the peer could be told */
  begin(passage: AnyPassage, giveUp: GiveUp = async () => {}): void {
    this.#newest = passage.session
    if (this.#settings.once) this.#once = { is: 'paired' }
    const begun = this.#run(passage)
      .then((exit) => this.#ended(passage, exit))
      .catch((thrown: unknown) => this.#failed(passage, asPlexusError(thrown), giveUp))
      .finally(() => this.#beginning.delete(begun))
    this.#beginning.add(begun)
  }

  /** Resolves when nothing of any passage is left to do. */
  async settled(): Promise<void> {
    await Promise.all(this.#beginning)
  }

  /** The exit code. @throws PlexusError why the one pairing came to no command */
  result(): number {
    if (this.#once.is === 'failed') throw this.#once.error
    return this.#once.is === 'over' ? this.#once.exit : 0
  }

  /** Runs the command, or the tunnel of the carrier; without either the passage is printed. */
  async #run(passage: AnyPassage): Promise<number | null> {
    const settings = this.#settings
    if (settings.command === undefined && settings.carrier === undefined) {
      await this.#expulsion.admit(passage)
      await handOver(settings, passage)
      return null
    }
    // the port is held until an earlier command of the peer is gone, so that nobody else takes it
    const launch = async (signal: AbortSignal) => {
      // an earlier command may have taken its time to end
      const standing = await this.#expulsion.admit(passage)
      const child = await handOver(settings, passage, signal, standing)
      if (child === undefined) throw new Error('a command or a carrier is configured, so one was started')
      this.#expulsion.watch(passage, standing, child)
      return child
    }
    const log = settings.context.log.child({ session: shortSession(passage.session) })
    const running = await this.#roster.run(passage.peer, launch, log)
    this.#report(pairedOutcome(passage), passage)
    return exitStatus(await running.exited)
  }

  #ended(passage: AnyPassage, exit: number | null): void {
    this.#report(pairedOutcome(passage, exit), passage)
    if (!this.#settings.once) return
    this.#once = { is: 'over', exit: exit ?? 0 }
    this.end(new PlexusError('CANCELLED', 'The only pairing of this accepter is over.'))
  }

  async #failed(passage: AnyPassage, error: PlexusError, giveUp: GiveUp): Promise<void> {
    await discard(passage)
    const log = this.#settings.context.log.child({ session: shortSession(passage.session) })
    const what = this.#settings.carrier
      ? 'the tunnel could not be opened'
      : 'the command could not be started'
    log.error({ code: error.code }, `${what}: ${error.message}`)
    this.#report(failedOutcome(error, { passage }), passage)
    await giveUp(error)
    if (!this.#settings.once) return
    this.#once = { is: 'failed', error }
    this.end(error)
  }

  #report(outcome: Outcome, passage?: AnyPassage): void {
    const superseded = passage !== undefined && passage.session !== this.#newest
    publish('plexus:pairing', this.#settings.context, () => ({ name: 'outcome', outcome, superseded }))
  }
}

/** A command that has gone since the start is told before anybody punches for it. */
function missingCommand({ command }: AccepterSettings): Refusal | undefined {
  try {
    if (command) checkProgram(command.file)
    return undefined
  } catch (thrown) {
    const { code, message } = asPlexusError(thrown)
    return code === 'SYSTEM_LIMIT' ? busy(message) : { code: 'COMMAND_MISSING', sentence: message }
  }
}

function busy(sentence: string): Refusal {
  return { code: 'BUSY', sentence }
}
