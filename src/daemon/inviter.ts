import { exitStatus } from '../exec/index.js'
import type { IdentityName } from '../identity/index.js'
import { invite } from '../pairing/index.js'
import { handOver } from './handover.js'
import type { DaemonSettings } from './settings.js'

/**
 * Pairs with one peer once and runs the command on the passage.
 * @param signal ends the pairing, or the command when it runs
 * @returns the exit code: the command's own, or 0 without one
 * @throws PlexusError if the pairing or the start of the command fails, or the signal's reason
 */
export async function runInviter(
  settings: DaemonSettings,
  peer: IdentityName,
  options: { readonly signal: AbortSignal },
): Promise<number> {
  const passage = await invite(settings.context, peer, options)
  const child = await handOver(settings, passage, options.signal)
  return child === undefined ? 0 : exitStatus(await child.exited)
}
