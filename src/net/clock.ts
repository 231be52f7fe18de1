import { setMaxListeners } from 'node:events'
import { PlexusError } from '../errors/index.js'

/** Time, passed in so that a test can hold it. src/system has the real one. */
export interface Clock {
  /** Monotonic time in ms, from an arbitrary start: for every interval and deadline. */
  now(): number
  /** Wall-clock time in ms since 1970-01-01 UTC: only for what is compared with another machine's. */
  date(): number
  /** Calls back once after `ms`; the returned function cancels it. */
  timer(ms: number, callback: () => void): () => void
}

/** Randomness, passed in so that a test can repeat it: `length` unpredictable bytes. */
export type Random = (length: number) => Buffer

/** Waits `ms`. @throws the signal's reason when aborted before */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onabort = () => {
      cancel()
      reject(signal?.reason)
    }
    const cancel = clock.timer(ms, () => {
      signal?.removeEventListener('abort', onabort)
      resolve()
    })
    signal?.addEventListener('abort', onabort, { once: true })
  })
}

/**
 * A controller whose signal as much may wait for as is under way: Node warns of a leak where there are more than ten
 * listeners, and each of them is bounded and taken off elsewhere.
 */
export function broadController(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

/**
 * A signal that aborts when `parent` does, or with `reason` after `ms`; `dispose` frees its timer and listener.
 * (AbortSignal.timeout knows no injected clock, and AbortSignal.any keeps its sources alive.)
 */
export function deadline(
  clock: Clock,
  ms: number,
  parent?: AbortSignal,
  reason: () => Error = () => new PlexusError('TIMEOUT', `Timed out after ${Math.round(ms / 1000)} s.`),
): { signal: AbortSignal; dispose: () => void; abort: (reason: Error) => void } {
  const controller = broadController()
  const onabort = () => controller.abort(parent?.reason)
  if (parent?.aborted) onabort()
  parent?.addEventListener('abort', onabort, { once: true })
  const cancel = clock.timer(ms, () => controller.abort(reason()))
  const dispose = () => {
    cancel()
    parent?.removeEventListener('abort', onabort)
  }
  return { signal: controller.signal, dispose, abort: (why) => controller.abort(why) }
}
