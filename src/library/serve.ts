import { asPlexusError, PlexusError } from '../errors/index.js'
import { broadController } from '../net/index.js'
import { type AcceptOptions, accept } from './accept.js'
import { loggerOf } from './log.js'
import { forPrograms } from './option-words.js'
import { badOption, wholeOption } from './options.js'
import type { Passage } from './passage.js'
import { tunnelOn } from './tunnel.js'

export interface ServeOptions extends AcceptOptions {
  /** How many passages are served at a time; inviters beyond that wait in the backlog, then are told BUSY. 256 */
  readonly limit?: number
  /** Is told what a handler failed with; without it the log is, as a warning. */
  readonly onError?: (error: PlexusError, peer: string) => void
}

/** @param signal aborts when `serve` is to end */
export type PassageHandler = (passage: Passage, signal: AbortSignal) => unknown

const LIMIT = 256
const MOST = 4096

/**
 * Accepts invites and calls `handler` for each passage, for all of them side by side, until `signal` aborts. What one
 * handler fails with is told, and ends nothing but its passage.
 *
 * A passage is closed when its handler is done, unless it was released or a tunnel was opened on it: a tunnel goes on until
 * it ends by itself. When a handler fails, its tunnel is closed too.
 * @returns when the signal has aborted and every handler is done
 * @throws PlexusError what `accept` throws, when nobody can be accepted any more
 */
export async function serve(options: ServeOptions, handler: PassageHandler): Promise<void> {
  const { limit = LIMIT, onError, signal, ...rest } = options
  if (typeof handler !== 'function') throw badOption('handler', handler, 'a function')
  if (onError !== undefined && typeof onError !== 'function')
    throw badOption('onError', onError, 'a function')
  wholeOption('limit', limit, 1, MOST)
  const log = loggerOf(rest.log)
  const life = broadController()
  const onabort = () => life.abort(signal?.reason)
  if (signal?.aborted) return
  signal?.addEventListener('abort', onabort, { once: true })
  const serving = new Set<Promise<void>>()
  const tell = (thrown: unknown, peer: string) => {
    const error = asPlexusError(forPrograms(thrown))
    try {
      if (onError) onError(error, peer)
      else log.warn({ code: error.code, peer }, `the handler of ${peer} failed: ${error.message}`)
    } catch (odd) {
      log.error({ err: odd }, 'onError failed')
    }
  }
  try {
    for await (const passage of accept({ ...rest, signal: life.signal })) {
      const one: Promise<void> = attend(passage, handler, life.signal, tell).finally(() =>
        serving.delete(one),
      )
      serving.add(one)
      while (serving.size >= limit) await Promise.race(serving)
    }
  } finally {
    life.abort(new PlexusError('CANCELLED', 'The program stopped serving.'))
    signal?.removeEventListener('abort', onabort)
    await Promise.all(serving)
  }
}

/** Never rejects. */
async function attend(
  passage: Passage,
  handler: PassageHandler,
  signal: AbortSignal,
  tell: (thrown: unknown, peer: string) => void,
): Promise<void> {
  try {
    await handler(passage, signal)
    if (!tunnelOn(passage)) await passage.socket.close()
  } catch (thrown) {
    if (!signal.aborted || thrown !== signal.reason) tell(thrown, passage.peer)
    await tunnelOn(passage)?.close()
    await passage.socket.close()
  }
}
