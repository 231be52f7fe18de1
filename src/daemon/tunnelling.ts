import { PlexusError } from '../errors/index.js'
import type { Exit, Running } from '../exec/index.js'
import { formatIdentity } from '../identity/index.js'
import { discard, type Passage, shortSession } from '../pairing/index.js'
import { IdentityWitness } from '../sealing/index.js'
import { openTunnel, upkeepBudgetOf } from '../wormhole/index.js'
import type { Carrier, DaemonSettings } from './settings.js'

/**
 * Opens a tunnel on the port of a passage, and has the carrier use it. The port is closed when it has ended.
 * @param options `signal` ends it; `onproven` is told by which certificate the peer has proven itself again
 * @throws PlexusError BUSY if the peer may have no further tunnel; the port stays open then
 */
export function runTunnel(
  { context }: DaemonSettings,
  carrier: Carrier,
  passage: Passage,
  options: { readonly signal?: AbortSignal; readonly onproven?: (fingerprint: Buffer) => void } = {},
): Running {
  const { signal, onproven } = options
  const { clock, random } = context
  const { port, role, faraway, keys } = passage
  const peer = formatIdentity(passage.peer)
  const log = context.log.child({ session: shortSession(passage.session) })
  const end = new AbortController()
  const tunnel = openTunnel({
    port,
    role: 'either',
    initiator: role === 'inviter',
    remote: faraway,
    key: keys.key,
    peer,
    clock,
    random,
    log,
    ...(context.governor ? { allowance: context.governor.allowance(peer) } : {}),
    ...(context.budget ? { share: context.budget.share(peer) } : {}),
    upkeepBudget: upkeepBudgetOf(clock, peer),
    witness: new IdentityWitness({ ...context, peer: passage.peer, log }, onproven),
    signal: end.signal,
  })
  const onabort = () => end.abort(signal?.reason)
  signal?.addEventListener('abort', onabort, { once: true })
  if (signal?.aborted) onabort()
  const release = context.bind.range?.hold(passage.inner.port) ?? (() => {})
  const exited = carrier.carry(peer, tunnel, log).then(async ({ kind }): Promise<Exit> => {
    signal?.removeEventListener('abort', onabort)
    await tunnel.close()
    await discard(passage)
    release()
    return { code: kind === 'closed' || kind === 'peer-closed' ? 0 : 1, signal: null }
  })
  const stop = async () => {
    end.abort(new PlexusError('CANCELLED', 'The tunnel is to end.'))
    await exited
  }
  return { exited, stop }
}
