import { asPlexusError } from '../errors/index.js'
import type { Roster } from '../exec/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { sleep } from '../net/index.js'
import type { PairingContext } from '../pairing/index.js'

/** How often the directories of the peers whose commands run are looked at, in ms: only theirs. */
const LOOK = 2000

/**
 * Ends the commands of peers whose directory was taken out of the repository, until the signal aborts. While the
 * own directory is away as well nobody is expelled: then it is the repository that cannot be reached. Never rejects.
 */
export async function watchExpulsion(
  context: Pick<PairingContext, 'clock' | 'log' | 'repository' | 'host'>,
  running: Pick<Roster, 'peers'> & { end: (peer: IdentityName) => Promise<unknown> },
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, repository, host } = context
  const ending = new Set<string>()
  while (!signal.aborted) {
    await sleep(clock, LOOK, signal).catch(() => {})
    for (const peer of signal.aborted ? [] : running.peers) {
      const name = formatIdentity(peer)
      if (ending.has(name) || (await repository.has(peer)) || !(await repository.has(host.name))) continue
      log.warn({ peer: name }, `${name} was taken out of the repository: its command ends`)
      ending.add(name)
      running
        .end(peer)
        .catch((thrown: unknown) => log.error({ peer: name }, asPlexusError(thrown).message))
        .finally(() => ending.delete(name))
    }
  }
}
