import { asPlexusError } from '../errors/index.js'
import { exitStatus } from '../exec/index.js'
import type { IdentityName } from '../identity/index.js'
import { invite, type Passage } from '../pairing/index.js'
import { watchExpulsion } from './expulsion.js'
import { handOver } from './handover.js'
import { failedOutcome, pairedOutcome } from './outcome.js'
import type { DaemonSettings } from './settings.js'

/**
 * How long the peer's word is waited for that its command could not be started, beyond what it takes to get here, in
 * ms: it ends an earlier command before, with SIGKILL after 5 s.
 */
const AFTERWARDS = 7000

/**
 * Pairs with one peer once and runs the command on the passage.
 * @param options.signal ends the pairing, or the command when it runs: an Ending sends it the signal that it names
 * @param options.onPassage hears that there is a passage
 * @returns the exit code: the command's own, or 0 without one
 * @throws PlexusError if the pairing or the start of the command fails, or the signal's reason
 */
export async function runInviter(
  settings: DaemonSettings,
  peer: IdentityName,
  options: { readonly signal: AbortSignal; readonly onPassage?: () => void },
): Promise<number> {
  const { report = () => {} } = settings
  const { clock, rendezvous } = settings.context
  const afterwards = new AbortController()
  let cancel = () => {}
  const watch = new AbortController()
  let passage: Passage | undefined
  try {
    passage = await invite(settings.context, peer, { ...options, afterwards: afterwards.signal })
    cancel = clock.timer(AFTERWARDS + rendezvous.latency, () => afterwards.abort())
    options.onPassage?.()
    const child = await handOver(settings, passage, options.signal)
    report(pairedOutcome(passage))
    if (child === undefined) return 0
    void watchExpulsion(settings.context, { peers: [peer], end: () => child.stop() }, watch.signal)
    const exit = exitStatus(await child.exited)
    report(pairedOutcome(passage, exit))
    return exit
  } catch (thrown) {
    report(failedOutcome(asPlexusError(thrown), { passage, peer }))
    throw thrown
  } finally {
    cancel()
    afterwards.abort()
    watch.abort()
  }
}
