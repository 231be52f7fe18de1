import { setMaxListeners } from 'node:events'

/** A signal that aborts when any of its parents does, or when it is closed itself. */
export interface Scope {
  readonly signal: AbortSignal
  /** Aborts, and frees the listeners at the parents. */
  close(reason?: unknown): void
}

/** Makes a scope. (AbortSignal.any keeps its sources alive; here `close` lets go of them.) */
export function scope(...parents: readonly (AbortSignal | undefined)[]): Scope {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal) // one for each operation under way, and those are many
  const listeners: (() => void)[] = []
  const close = (reason?: unknown) => {
    for (const free of listeners.splice(0)) free()
    controller.abort(reason)
  }
  for (const parent of parents) {
    if (!parent) continue
    if (parent.aborted) {
      close(parent.reason)
      break
    }
    const onabort = () => close(parent.reason)
    parent.addEventListener('abort', onabort, { once: true })
    listeners.push(() => parent.removeEventListener('abort', onabort))
  }
  return { signal: controller.signal, close }
}

/** Waits for a promise, but no longer than until the signal aborts. @throws the signal's reason */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    const onabort = () => reject(signal.reason)
    signal.addEventListener('abort', onabort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onabort))
  })
}
