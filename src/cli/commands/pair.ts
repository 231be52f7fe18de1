import { failedOutcome, openProgram } from '../../assembly/index.js'
import { limitsInWords, lowLimits } from '../../budget/index.js'
import { asPlexusError, isAbort, PlexusError } from '../../errors/index.js'
import { Ending } from '../../exec/index.js'
import type { Logger } from '../../net/index.js'
import { systemMachine } from '../../system/index.js'
import { announce } from '../flags/announcements.js'
import { programSettings } from '../flags/program.js'
import type { Values } from '../flags/values.js'
import { reportOn } from '../output/reporting.js'
import { ResultFile } from '../output/result.js'
import { outsideWith } from '../process/outside.js'
import { onEndingSignal } from '../process/signals.js'
import { standardStreams } from '../process/stdio.js'

/** `plexus [--accept] …`: everything that can be wrong with the flags is found before anything is sent. */
export async function pairCommand(values: Values): Promise<number> {
  // a reader that has gone away must not end a daemon
  process.stdout.on('error', () => {})
  const result = ResultFile.of(values)
  const stopFollowing = result?.follow()
  try {
    const code = await pair(values)
    if (values.switch('once')) {
      result?.unlessWritten(
        failedOutcome(new PlexusError('CANCELLED', 'Stopped by a signal before a peer connected.')),
      )
    }
    return code
  } catch (thrown) {
    // what went wrong before there was a pairing: nobody else has told of it
    result?.unlessWritten(failedOutcome(asPlexusError(thrown)))
    throw thrown
  } finally {
    stopFollowing?.()
  }
}

async function pair(values: Values): Promise<number> {
  const { settings, log } = programSettings(values)
  const program = await openProgram(settings, outsideWith(log), {
    print: (lines) => void process.stdout.write(lines),
    near: standardStreams,
    onReady: () => {
      announce(values, settings, log)
      tellLimits(log)
    },
    watch: (forwarding) => reportOn(forwarding, log),
  })
  return await untilEnded(log, async (signal) => {
    try {
      return await program.run(signal)
    } finally {
      await program.close()
    }
  })
}

/** What peers can use here, and which limit makes that little. */
function tellLimits(log: Logger): void {
  const machine = systemMachine()
  log.debug({}, limitsInWords(machine))
  for (const { sentence, advice } of lowLimits(machine)) log.warn({}, `${sentence} ${advice}`)
}

/** Runs until it is done or a signal asks for the end: the first one counts, and is passed on to what runs. */
async function untilEnded(log: Logger, run: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController()
  const stopListening = onEndingSignal(
    (signal) => controller.abort(new Ending(signal)),
    () =>
      log.info(
        {},
        'SIGHUP: changes in the repository take effect by themselves; restart plexus to change flags',
      ),
  )
  try {
    return await run(controller.signal)
  } catch (thrown) {
    const error = asPlexusError(thrown)
    if (isAbort(thrown)) log.info({ code: error.code }, error.message)
    throw error
  } finally {
    stopListening()
  }
}
