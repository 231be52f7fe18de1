import { join } from 'node:path'
import { asPlexusError, PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { broadController, UdpPort } from '../net/index.js'
import { Accepter, type PairingContext, type RefusalCode, ROOM, type Underway } from '../pairing/index.js'
import { SeenSessions } from '../sealing/index.js'
import { Backlog } from './backlog.js'
import { spoken } from './option-words.js'
import { badOption, identityOption, type PairingOptions, wholeOption } from './options.js'
import { type Passage, passageOf } from './passage.js'
import { type Setup, setUp } from './setup.js'

/** Why an inviter is not taken: `sentence` is told to it, sealed, and to nobody else. */
export interface Refusal {
  /** `BUSY` when another time may do, `REFUSED` when not. */
  readonly code: 'BUSY' | 'REFUSED'
  readonly sentence: string
}

export interface AcceptOptions extends PairingOptions {
  /** Only these, `owner/pin`; without it everyone who has a directory in the repository. */
  readonly peers?: readonly (string | IdentityName)[]
  /**
   * Is asked about each invite, once its sender has been proven and before anything is done for it: `true` takes it,
   * `false` refuses it without a reason. While it thinks no other invite of this peer is looked at.
   */
  readonly admit?: (peer: string) => boolean | Refusal | Promise<boolean | Refusal>
  /**
   * How many passages may be waiting to be taken, with those that are being made, 1 to 16; inviters beyond that are
   * told BUSY. A passage that waits long is lost: NATs forget within 30 s. 16
   */
  readonly backlog?: number
  /** Called once when invites can arrive, as far as the rendezvous can tell. */
  readonly onReady?: () => void
}

/** As many as an accepter negotiates at a time. */
const BACKLOG = 16

/**
 * Accepts invites for as long as it is iterated, from the first `next()` on, and yields a passage for each that
 * comes to something; pairings go on while the loop's body runs. The caller owns each passage that it was given.
 *
 * It ends when `signal` aborts, without an error, or when the loop is left: then every session is ended, what nobody
 * took is closed, and everything that was opened for it. For one loop. What is thrown in the body of a `for await` leaves the
 * loop, and so ends the accepter for everybody: a program that serves many peers uses `serve`.
 * @throws PlexusError from `next()`: BAD_OPTION, REPOSITORY, KEY_…, STATE_DIRECTORY, BAD_RENDEZVOUS, and what a
 *   rendezvous throws that cannot go on
 */
export function accept(options: AcceptOptions): AsyncIterableIterator<Passage> & AsyncDisposable {
  const life = broadController()
  const passages = passagesOf(options, life)
  const end = () => {
    // a generator that waits would hear of its end only with the next passage
    life.abort(new PlexusError('CANCELLED', 'The accepter is stopping.'))
    return passages.return()
  }
  return {
    next: () => spoken(() => passages.next()),
    return: end,
    async [Symbol.asyncDispose]() {
      await end()
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

async function* passagesOf(options: AcceptOptions, life: AbortController): AsyncGenerator<Passage, void> {
  const { signal } = options
  if (signal?.aborted) return
  const onabort = () => life.abort(signal?.reason)
  signal?.addEventListener('abort', onabort, { once: true })
  try {
    const checked = checkAccept(options)
    const setup = await setUp(options)
    try {
      yield* receive(setup, { ...options, ...checked }, life)
    } finally {
      await setup.close()
    }
  } finally {
    signal?.removeEventListener('abort', onabort)
  }
}

interface Checked {
  readonly names: readonly IdentityName[] | undefined
  readonly room: number
}

function checkAccept({ peers, admit, onReady, backlog = BACKLOG }: AcceptOptions): Checked {
  if (peers !== undefined && !Array.isArray(peers)) throw badOption('peers', peers, 'a list of owner/pin')
  for (const [name, callback] of Object.entries({ admit, onReady })) {
    if (callback !== undefined && typeof callback !== 'function')
      throw badOption(name, callback, 'a function')
  }
  return {
    names: peers?.map((peer) => identityOption('peers', peer)),
    room: wholeOption('backlog', backlog, 1, BACKLOG),
  }
}

async function* receive(
  setup: Setup,
  options: AcceptOptions & Checked,
  life: AbortController,
): AsyncGenerator<Passage, void> {
  const { context, stateDirectory } = setup
  const { clock, log } = context
  const { names, room } = options
  const backlog = new Backlog(room)
  const seen = await SeenSessions.open(join(stateDirectory, 'seen'), { clock, log })
  const accepter = new Accepter(context, {
    ...(names ? { peers: names } : {}),
    seen,
    supersede: true,
    admit: (peer, underway) => admission(context, options, backlog, peer, underway),
    room: () =>
      (context.bind.port ?? 0) === 0 ? ROOM : { ...ROOM, all: 1, sentence: portTaken(context.bind) },
    onPassage: (passage) => backlog.add(passage),
  })
  const running = accepter.run(life.signal).then(
    () => backlog.end(),
    (thrown: unknown) => backlog.end(asPlexusError(thrown, 'RENDEZVOUS_UNREACHABLE')),
  )
  void tellReady(context, options.onReady, life.signal)
  try {
    for (;;) {
      const passage = await backlog.take()
      if (!passage) return
      yield passageOf(passage, context)
    }
  } finally {
    life.abort(new PlexusError('CANCELLED', 'The accepter is stopping.'))
    await running
    await backlog.close()
    await seen.close()
  }
}

/** Never rejects: an accepter that does not know when it is ready accepts all the same. */
async function tellReady(
  { rendezvous, log }: PairingContext,
  onReady: AcceptOptions['onReady'],
  signal: AbortSignal,
): Promise<void> {
  try {
    await rendezvous.ready?.({ signal })
    if (!signal.aborted) onReady?.()
  } catch (thrown) {
    const { code, message } = asPlexusError(thrown)
    if (!signal.aborted) log.warn({ code }, message)
  }
}

/** Whether a pairing may begin: there has to be room, the port has to be free, and the program has to agree. */
async function admission(
  { bind, log }: PairingContext,
  { admit }: AcceptOptions,
  backlog: Backlog,
  peer: IdentityName,
  underway: Underway,
): Promise<{ code: RefusalCode; sentence: string } | undefined> {
  if (!backlog.hasRoom(underway.all))
    return { code: 'BUSY', sentence: 'Too many pairings are waiting already.' }
  if ((bind.port ?? 0) !== 0 && !(await isFree(bind))) return { code: 'BUSY', sentence: portTaken(bind) }
  if (!admit) return undefined
  const no = { code: 'REFUSED', sentence: 'This accepter does not accept you.' } as const
  try {
    const verdict = await admit(formatIdentity(peer))
    if (typeof verdict === 'boolean') return verdict ? undefined : no
    return { code: verdict.code, sentence: verdict.sentence }
  } catch (thrown) {
    log.error({ err: thrown }, 'admit failed: the invite is refused')
    return no
  }
}

const portTaken = ({ port }: PairingContext['bind']) => `The port ${port} of this accepter is in use.`

/** A fixed port carries one passage at a time, also one that was released to another program. */
async function isFree(bind: PairingContext['bind']): Promise<boolean> {
  try {
    await UdpPort.open(bind).close()
    return true
  } catch {
    return false // an address that this machine does not have says so when the pairing opens it
  }
}
