import { Digests, inviteByLetter } from '../dialect/index.js'
import { asPlexusError } from '../errors/index.js'
import { exitStatus, keyless, wantsKey } from '../exec/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { discard, failedOutcome, invite, pairedOutcome } from '../pairing/index.js'
import { type Outcome, publish } from '../watch/index.js'
import { Expulsion } from './expulsion.js'
import { type AnyPassage, handOver } from './handover.js'
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
  const { clock, rendezvous } = settings.context
  const afterwards = new AbortController()
  let cancel = () => {}
  const watch = new AbortController()
  let passage: AnyPassage | undefined
  try {
    passage = await pairWith(settings, peer, { ...options, afterwards: afterwards.signal })
    cancel = clock.timer(AFTERWARDS + rendezvous.latency, () => afterwards.abort())
    options.onPassage?.()
    const taken = passage
    const expulsion = new Expulsion(settings)
    const standing = await expulsion.admit(taken).catch(async (thrown: unknown) => {
      await discard(taken)
      throw thrown
    })
    const child = await handOver(settings, taken, options.signal, standing)
    tell(settings, pairedOutcome(passage))
    if (child === undefined) return 0
    expulsion.watch(taken, standing, child)
    void expulsion.run(watch.signal)
    const exit = exitStatus(await child.exited)
    tell(settings, pairedOutcome(passage, exit))
    return exit
  } catch (thrown) {
    tell(settings, failedOutcome(asPlexusError(thrown), { passage, peer }))
    throw thrown
  } finally {
    cancel()
    afterwards.abort()
    watch.abort()
  }
}

function tell({ context }: DaemonSettings, outcome: Outcome): void {
  publish('plexus:pairing', context, () => ({ name: 'outcome', outcome, superseded: false }))
}

/** Invites the peer in the dialect that it is spoken with: `auto` is native for who speaks first. */
async function pairWith(
  { context, command, dialect }: DaemonSettings,
  peer: IdentityName,
  options: { readonly signal: AbortSignal; readonly afterwards: AbortSignal },
): Promise<AnyPassage> {
  if (dialect === undefined || (await dialect.choice.of(peer)) !== 'plexus-3') {
    const passage = await invite(context, peer, options)
    await dialect?.natives.add(peer)
    return passage
  }
  if (command && wantsKey(command)) throw keyless()
  if (await dialect.natives.has(peer)) {
    const name = formatIdentity(peer)
    context.log.warn(
      {},
      `${name} has used the native protocol before: the plexus-3 dialect is weaker and not needed`,
    )
  }
  const { signal } = options
  const digests = await Digests.open(dialect.directory, context, peer)
  try {
    return await inviteByLetter(context, peer, { signal, allowPlain: dialect.allowPlain, digests })
  } finally {
    await digests.close()
  }
}
