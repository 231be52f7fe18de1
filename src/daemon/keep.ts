import { asPlexusError, type PlexusError } from '../errors/index.js'
import type { IdentityName } from '../identity/index.js'
import { type Clock, type Random, sleep } from '../net/index.js'
import { publish } from '../watch/index.js'
import { runInviter } from './inviter.js'
import type { Carrier, DaemonSettings } from './settings.js'

/** What the first wait and the longest one are about, in ms. */
const FIRST_WAIT = 1000
const LONGEST_WAIT = 60_000

/** A command that ran for this long, in ms, did its work: the waits begin anew after it. */
const STEADY = 60_000

/** The same of a tunnel, in ms: longer than one takes that never came about, or was lost at once. */
const STEADY_TUNNEL = 15_000

/** About how long an attempt is waited with at most while a connection waits for its tunnel, in ms. */
const HURRY = 2000

/**
 * Mistakes that nobody has made when the same pairing has worked before: the network has changed, a port is still held, or
 * the repository, the command or a disk is away for a moment, as in an upgrade or an outage of NFS.
 */
const PASSING: ReadonlySet<string> = new Set([
  'ADDRESS_IN_USE',
  'ADDRESS_UNAVAILABLE',
  'CERTIFICATE_INVALID',
  'CERTIFICATE_REVOKED',
  'CERTIFICATE_UNTRUSTED',
  'COMMAND_MISSING',
  'EXEC_LOG',
  'EXEC_PWD',
  'IDENTITY_MISSING',
  'RENDEZVOUS_FOREIGN',
  'STATE_DIRECTORY',
])

/**
 * How long to wait before the next attempt, in ms: twice as long each time, and never the same, lest many inviters
 * of one accepter that went away come back in step.
 * @param failures how many attempts came to nothing, or to little, in a row; from 1
 */
export function waitBefore(failures: number, random: Random): number {
  const about = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(failures - 1, 16))
  return Math.round(about * (0.5 + random(4).readUInt32BE() / 2 ** 32))
}

/**
 * Pairs with one peer again and again: when the command has ended, and when the pairing has failed, until the signal
 * aborts or nothing but a person can help.
 * @returns the exit code of the command that the signal ended
 * @throws PlexusError for a mistake in usage or configuration; the signal's reason when no command ran
 */
export async function keepInviting(
  settings: DaemonSettings,
  peer: IdentityName,
  options: { readonly signal: AbortSignal },
): Promise<number> {
  const { carrier } = settings
  const { clock, log, random } = settings.context
  const { signal } = options
  const steady = carrier ? STEADY_TUNNEL : STEADY
  let worked = false
  for (let failures = 1; ; failures++) {
    let began: number | undefined
    const onPassage = () => {
      began = clock.now()
      worked = true
    }
    try {
      const code = await runInviter(settings, peer, { signal, onPassage })
      if (signal.aborted) return code
      if (began !== undefined && clock.now() - began >= steady) failures = 1
    } catch (thrown) {
      const error = asPlexusError(thrown)
      if (signal.aborted || endsIt(error, worked)) throw error
      log.warn({ code: error.code }, `the pairing failed: ${error.message}`)
    }
    const wait = waitBefore(failures, random)
    publish('plexus:pairing', settings.context, () => ({ name: 'waiting', wait }))
    const hurry = Math.min(wait, waitBefore(2, random), HURRY)
    if (carrier) await pause(carrier, { wait, hurry }, clock, signal)
    else await sleep(clock, wait, signal)
  }
}

/** Waits, but not for long once somebody wants to go through. @throws the signal's reason */
async function pause(
  carrier: Carrier,
  { wait, hurry }: { wait: number; hurry: number },
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const enough = new AbortController()
  const onabort = () => enough.abort()
  let cancel = () => {}
  const hasten = () => {
    cancel()
    cancel = clock.timer(hurry, () => enough.abort())
    carrier.ondemand = () => {}
  }
  signal.addEventListener('abort', onabort, { once: true })
  if (signal.aborted) onabort()
  carrier.ondemand = hasten
  if (carrier.wanted) hasten()
  await sleep(clock, wait, enough.signal).catch(() => {})
  carrier.ondemand = () => {}
  cancel()
  signal.removeEventListener('abort', onabort)
  signal.throwIfAborted()
}

function endsIt(error: PlexusError, worked: boolean): boolean {
  return error.kind === 'usage' && !(worked && PASSING.has(error.code))
}
