import { isAbort } from '../../errors/index.js'
import type { Logger } from '../../net/index.js'
import type { Forwarding } from '../../wormhole/index.js'

/**
 * Tells the log how a forwarding stands whenever SIGUSR2 arrives, and how it was once the returned function is called.
 */
export function reportOn(forwarding: Pick<Forwarding, 'report' | 'summary'>, log: Logger): () => void {
  const over = new AbortController()
  const onsignal = () => {
    forwarding.report(over.signal).then(
      (lines) => {
        for (const line of lines) log.info({}, line)
      },
      (thrown: unknown) => {
        if (!isAbort(thrown) && !over.signal.aborted) log.error({ err: thrown }, 'the report failed')
      },
    )
  }
  process.on('SIGUSR2', onsignal)
  return () => {
    process.off('SIGUSR2', onsignal)
    over.abort()
    log.info({}, forwarding.summary())
  }
}
