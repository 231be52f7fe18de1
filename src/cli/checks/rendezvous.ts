import type { Mailbox, Rendezvous } from '../../../rendezvous/index.js'
import { type MeetingSettings, type Outside, openMeeting } from '../../assembly/index.js'
import { ERROR_CODES, type ErrorCode, PlexusError } from '../../errors/index.js'
import { deadline, type Logger } from '../../net/index.js'
import { type Finding, found, ok, warn } from './finding.js'

/**
 * How long a rendezvous may take to carry a message there and back, in ms: on the public DHT, joining, storing and
 * finding it take some 3 s together.
 */
const PATIENCE = 6000

/** The same as a multiple of the latency that a rendezvous declares. */
const SLOW = 5

/** How large the message is, in bytes: as an invite. */
const SIZE = 1500

/**
 * A rendezvous, tried with a message of our own to a mailbox that only we know: nobody is rung and nothing is taken from
 * a mailbox that somebody else may be waiting at.
 */
export async function checkRendezvous(
  meeting: MeetingSettings,
  from: { readonly identity: string; readonly app: string; readonly directory: string },
  outside: Outside,
  signal: AbortSignal,
): Promise<Finding[]> {
  const ear = new Ear(outside.log)
  let rendezvous: Rendezvous
  try {
    rendezvous = await openMeeting(meeting, from.directory, { ...outside, log: ear.log })
  } catch (thrown) {
    return [found('rendezvous', thrown)]
  }
  try {
    return [await trip(rendezvous, { ...from, ...outside, signal }, ear)]
  } finally {
    await rendezvous.close()
  }
}

async function trip(
  rendezvous: Rendezvous,
  {
    identity,
    app,
    clock,
    random,
    signal,
  }: Pick<Outside, 'clock' | 'random'> & { identity: string; app: string; signal: AbortSignal },
  ear: Ear,
): Promise<Finding> {
  const { name } = rendezvous
  const to: Mailbox = { kind: 'session', app, identity, seed: random(32) }
  const sealed = random(SIZE)
  const expires = clock.date() + 60_000
  const patience = Math.max(PATIENCE, SLOW * rendezvous.latency)
  const limit = deadline(clock, patience, signal)
  const started = clock.now()
  const progress: { state: 'posting' | 'posted' } = { state: 'posting' }
  try {
    const incoming = rendezvous.receive(to, { signal: limit.signal })
    const posting = rendezvous
      .post({ to, from: identity, session: random(16), expires }, sealed, { signal: limit.signal })
      .then(() => {
        progress.state = 'posted'
      })
    const back = first(incoming, sealed)
    await Promise.race([posting.then(() => back), back])
    return ok('rendezvous', `${name} carried a message in ${Math.round(clock.now() - started)} ms.`)
  } catch (thrown) {
    signal.throwIfAborted()
    if (!limit.signal.aborted) return found('rendezvous', thrown)
    const seconds = patience / 1000
    if (progress.state === 'posted') {
      const slow = `${name} accepted a message, but did not deliver it within ${seconds} s.`
      return warn('rendezvous', slow, 'If it is slow, this is fine; otherwise look at the log with -v.')
    }
    return found('rendezvous', ear.error ?? unheard(name, seconds))
  } finally {
    limit.abort(new PlexusError('CANCELLED', 'The check is over.'))
    limit.dispose()
  }
}

/** Resolves when the message has come. @throws PlexusError TIMEOUT if it does not any more */
async function first(incoming: AsyncIterable<Uint8Array>, sealed: Uint8Array): Promise<void> {
  for await (const message of incoming) if (Buffer.from(message).equals(sealed)) return
  throw new PlexusError('TIMEOUT', 'The message did not come back.')
}

function unheard(name: string, seconds: number): PlexusError {
  return new PlexusError('RENDEZVOUS_UNREACHABLE', `${name} did not accept a message within ${seconds} s.`)
}

/** Listens to what a rendezvous complains of while it goes on trying. */
class Ear {
  /** The last complaint with a code. */
  error: PlexusError | undefined
  readonly log: Logger

  constructor(log: Logger) {
    const hear = (fields: object, message: string) => {
      const code = 'code' in fields ? fields.code : undefined
      if (isCode(code)) this.error = new PlexusError(code, message)
    }
    this.log = {
      trace: (fields, message) => log.trace(fields, message),
      debug: (fields, message) => log.debug(fields, message),
      info: (fields, message) => log.info(fields, message),
      warn: (fields, message) => {
        hear(fields, message)
        log.warn(fields, message)
      },
      error: (fields, message) => {
        hear(fields, message)
        log.error(fields, message)
      },
      child: () => this.log,
    }
  }
}

function isCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_CODES, value)
}
