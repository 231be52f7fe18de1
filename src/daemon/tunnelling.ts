import { PlexusError } from '../errors/index.js'
import type { Exit, Running } from '../exec/index.js'
import { formatIdentity } from '../identity/index.js'
import { discard, type Passage, shortSession } from '../pairing/index.js'
import { openTunnel } from '../wormhole/index.js'
import type { Carrier, DaemonSettings } from './settings.js'

/**
 * Opens a tunnel on the port of a passage, and has the carrier use it. The port is closed when it has ended.
 * @param signal ends it
 */
export function runTunnel(
  { context }: DaemonSettings,
  carrier: Carrier,
  passage: Passage,
  signal?: AbortSignal,
): Running {
  const { clock, random } = context
  const { port, role, faraway, keys, peer } = passage
  const log = context.log.child({ session: shortSession(passage.session) })
  const end = new AbortController()
  const onabort = () => end.abort(signal?.reason)
  signal?.addEventListener('abort', onabort, { once: true })
  if (signal?.aborted) onabort()
  const release = context.bind.range?.hold(passage.inner.port) ?? (() => {})
  const tunnel = openTunnel({
    port,
    role: 'either',
    initiator: role === 'inviter',
    remote: faraway,
    key: keys.key,
    clock,
    random,
    log,
    ...(context.governor ? { allowance: context.governor.allowance(formatIdentity(peer)) } : {}),
    signal: end.signal,
  })
  const exited = carrier.carry(formatIdentity(peer), tunnel, log).then(async ({ kind }): Promise<Exit> => {
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
