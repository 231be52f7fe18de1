import { asPlexusError } from '../errors/index.js'
import { expiryNotice, formatIdentity, type Host } from '../identity/index.js'
import { sleep } from '../net/index.js'
import type { PairingContext } from '../pairing/index.js'

/**
 * How often this side's files are looked at, in ms: a change counts within 5 s. (Being told by the system would miss a
 * directory that was replaced, a link that leads elsewhere and a network file system; four `stat` cost nothing.)
 */
const LOOK = 2000

/** How often it is said that this side's certificate expires, in ms. */
const REMINDER = 24 * 3600_000

/**
 * Looks whether this side's certificate or key was replaced on disk, until the signal aborts, and says in time when the
 * certificate expires. What cannot be used is logged, and the daemon goes on with what it has. Never rejects.
 * @param adopt is given this side's identity as it is from now on
 */
export async function watchRenewal(
  context: Pick<PairingContext, 'clock' | 'log' | 'repository' | 'host'>,
  adopt: (host: Host) => void,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, repository } = context
  let host = context.host
  let stamp: string | undefined
  let reminded: number | undefined
  while (!signal.aborted) {
    if (reminded === undefined || clock.now() - reminded >= REMINDER) {
      reminded = clock.now()
      remind(host)
    }
    const now = await repository.stamp(host.name)
    if (now !== stamp) {
      stamp = now
      await reload()
    }
    await sleep(clock, LOOK, signal).catch(() => {})
  }

  async function reload(): Promise<void> {
    try {
      const found = await repository.host(host.name)
      if (signal.aborted || fingerprints(found) === fingerprints(host)) return
      host = found
      log.info(
        {},
        `your identity was changed: ${found.next ? 'its key is being replaced' : 'one certificate'}`,
      )
      remind(host)
      adopt(host)
    } catch (thrown) {
      const { code, message } = asPlexusError(thrown)
      log.warn({ code }, `your identity cannot be reloaded, keeping the earlier one: ${message}`)
    }
  }

  function remind({ name, certificate }: Host): void {
    const notice = expiryNotice(certificate, clock.date())
    if (notice) log.warn({}, `your certificate of ${formatIdentity(name)} ${notice}`)
  }
}

function fingerprints({ certificate, next }: Host): string {
  return [certificate, next?.certificate].map((each) => each?.fingerprint.toString('hex') ?? '-').join()
}
