import { type ConformanceCheck, conformanceChecks } from '../../../rendezvous/conformance.js'
import type { Rendezvous } from '../../../rendezvous/index.js'
import { type MeetingSettings, openMeeting } from '../../assembly/index.js'
import { asPlexusError, PlexusError } from '../../errors/index.js'
import type { Logger } from '../../net/index.js'
import { openTemporaryDirectory, type TemporaryDirectory } from '../../place/index.js'
import { systemClock, systemRandom } from '../clock.js'
import { logOf } from '../flags/log.js'
import { rendezvousOptions } from '../flags/rendezvous-options.js'
import type { Values } from '../flags/values.js'
import { outsideWith } from '../process/outside.js'
import { onEndingSignal } from '../process/signals.js'

/** How long a rendezvous may take to close, in ms: what it said goodbye to may be far away. */
const CLOSING = 10_000

/** How long what was closed may keep the program from ending, in ms. */
const LINGERING = 3000

/** What came of one check. */
type Verdict =
  | { readonly is: 'ok'; readonly ms: number }
  | { readonly is: 'FAIL'; readonly ms: number; readonly why: string }
  | { readonly is: 'skip'; readonly why: string }

/**
 * `plexus rendezvous test <url>`: holds a rendezvous to the claims that our own meet. Two are opened for each check, as
 * two machines would, and closed after it. 0 if every check is met, else 1.
 * @throws PlexusError BAD_RENDEZVOUS and the like if it cannot be opened at all; CANCELLED by a signal
 */
export async function rendezvousCommand(url: string, values: Values): Promise<number> {
  const open = await opener({ urls: [url], options: rendezvousOptions(values) }, logOf(values))
  const controller = new AbortController()
  const stopListening = onEndingSignal((signal) =>
    controller.abort(new PlexusError('CANCELLED', `Stopped by ${signal}.`)),
  )
  try {
    return await testAll(open, controller.signal)
  } finally {
    stopListening()
    await open.clean()
    mustEnd()
  }
}

interface Opener {
  /** Opens one with a state directory of its own. */
  (): Promise<Rendezvous>
  clean(): Promise<unknown>
}

async function opener(meeting: MeetingSettings, log: Logger): Promise<Opener> {
  const states: TemporaryDirectory[] = []
  const open = async () => {
    const state = await openTemporaryDirectory('plexus-rendezvous-')
    states.push(state)
    return await openMeeting(meeting, state.path, outsideWith(log))
  }
  return Object.assign(open, { clean: () => Promise.all(states.map((state) => state.remove())) })
}

async function testAll(open: Opener, signal: AbortSignal): Promise<number> {
  const counts = { ok: 0, FAIL: 0, skip: 0 }
  const checks = conformanceChecks()
  for (const check of checks) {
    const verdict: Verdict =
      counts.ok === 0 && counts.FAIL > 0
        ? { is: 'skip', why: 'messages do not arrive yet' }
        : await verdictOn(check, open, signal)
    counts[verdict.is]++
    print(check.name, verdict)
  }
  process.stdout.write(`${counts.ok} ok, ${counts.FAIL} failed, ${counts.skip} skipped\n`)
  return counts.ok === checks.length ? 0 : 1
}

async function verdictOn(check: ConformanceCheck, open: Opener, signal: AbortSignal): Promise<Verdict> {
  const opened: Rendezvous[] = []
  const began = systemClock.now()
  try {
    signal.throwIfAborted()
    const inviter = await open()
    opened.push(inviter)
    const accepter = await open()
    opened.push(accepter)
    const run = check.run({ inviter, accepter, clock: systemClock, random: systemRandom })
    await unlessAborted(run, signal)
    await close(opened.splice(0))
    return { is: 'ok', ms: systemClock.now() - began }
  } catch (thrown) {
    const unusable = opened.length === 0 && asPlexusError(thrown).kind === 'usage'
    if (signal.aborted || unusable) throw thrown
    return { is: 'FAIL', ms: systemClock.now() - began, why: reasonOf(thrown) }
  } finally {
    await close(opened).catch(() => {}) // the check has failed already
  }
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onabort = () => reject(signal.reason)
    signal.addEventListener('abort', onabort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onabort))
  })
}

/** Closes them, whether or not they want to be. */
async function close(opened: readonly Rendezvous[]): Promise<void> {
  let cancel = () => {}
  const late = new Promise<never>((_, reject) => {
    const error = new PlexusError('TIMEOUT', `It did not close within ${CLOSING / 1000} s.`)
    cancel = systemClock.timer(CLOSING, () => reject(error))
  })
  try {
    await Promise.race([Promise.all(opened.map((rendezvous) => rendezvous.close())), late])
  } finally {
    cancel()
  }
}

/**
 * A rendezvous that lets go of everything when it is closed lets this program end by itself. One that does not is told
 * so; otherwise its author would look at a program that stands still.
 */
function mustEnd(): void {
  const limit = setTimeout(() => {
    const why = `something is still open ${LINGERING / 1000} s after everything was closed: ${process.getActiveResourcesInfo().join(', ')}`
    print('closing releases every socket, timer and file', { is: 'FAIL', ms: LINGERING, why })
    process.exit(1)
  }, LINGERING)
  limit.unref()
}

function print(name: string, verdict: Verdict): void {
  const time = verdict.is === 'skip' ? '' : ` (${Math.round(verdict.ms)} ms)`
  const why = verdict.is === 'ok' ? '' : `: ${verdict.why}`
  process.stdout.write(`${verdict.is.padEnd(4)}  ${name}${time}${why}\n`)
}

/** One line; what an assertion compares stands on further ones. */
function reasonOf(thrown: unknown): string {
  const { message } = thrown instanceof Error ? thrown : new Error(String(thrown))
  return message.trim().split('\n')[0] ?? ''
}
