import { asPlexusError } from '../errors/index.js'
import { Roster } from '../exec/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { Accepter, type Passage, type RefusalCode, shortSession, type Underway } from '../pairing/index.js'
import { SeenSessions } from '../sealing/index.js'
import { handOver } from './handover.js'
import type { AccepterSettings } from './settings.js'

/**
 * Accepts invites until the signal aborts, and runs the command on every passage.
 * When it resolves every session and every command has ended.
 * @throws PlexusError STATE_DIRECTORY, RENDEZVOUS_FOREIGN and the like, before anything is accepted
 */
export async function runAccepter(
  settings: AccepterSettings,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const { context, peers, onRepeat, seenFile } = settings
  const { clock, log, rendezvous, host, app } = context
  const { signal } = options
  const seen = await SeenSessions.open(seenFile, { clock, log })
  const roster = new Roster(onRepeat, { log })
  const accepter = new Accepter(context, {
    ...(peers ? { peers } : {}),
    seen,
    supersede: onRepeat === 'replace',
    admit: (peer, underway) => admit(settings, roster, peer, underway),
    onPassage: (passage) => void begin(settings, roster, passage),
  })
  const whom = peers ? peers.map(formatIdentity).join(', ') : 'everyone in the repository'
  log.info({}, `accepting ${whom} as ${formatIdentity(host.name)} for '${app}' over ${rendezvous.name}`)
  const started = clock.now()
  Promise.resolve(rendezvous.ready?.({ signal })).then(
    () => log.info({}, `ready for invites after ${Math.round(clock.now() - started)} ms`),
    (thrown: unknown) => {
      if (!signal.aborted) log.warn({ code: asPlexusError(thrown).code }, asPlexusError(thrown).message)
    },
  )
  try {
    await accepter.run(signal)
  } finally {
    await roster.close()
    await seen.close()
  }
}

type Refusal = { code: RefusalCode; sentence: string }

/** Whether a pairing may begin, by what runs and what is under way. */
async function admit(
  settings: AccepterSettings,
  roster: Roster,
  peer: IdentityName,
  underway: Underway,
): Promise<Refusal | undefined> {
  const { context, onRepeat } = settings
  if (!roster.mayPair(peer) || (onRepeat === 'refuse' && underway.ofPeer > 0)) {
    return { code: 'BUSY', sentence: 'A pairing of this identity is running.' }
  }
  if ((context.bind.port ?? 0) === 0) return undefined
  // a fixed port is held by the command that runs on it
  if (onRepeat === 'replace') await roster.end(peer)
  if (roster.size === 0 && underway.all === 0) return undefined
  return { code: 'BUSY', sentence: `The port ${context.bind.port} of this accepter is in use.` }
}

async function begin(settings: AccepterSettings, roster: Roster, passage: Passage): Promise<void> {
  try {
    if (settings.command === undefined) await handOver(settings, passage)
    else {
      // the port is held until an earlier command of the peer is gone, so that nobody else takes it
      await roster.run(passage.peer, async (signal) => {
        const child = await handOver(settings, passage, signal)
        if (child === undefined) throw new Error('a command is configured, so one was started')
        return child
      })
    }
  } catch (thrown) {
    await passage.port.close()
    const error = asPlexusError(thrown)
    const log = settings.context.log.child({ session: shortSession(passage.session) })
    log.error({ code: error.code }, `the command could not be started: ${error.message}`)
  }
}
