/**
 * Calls that change what the router holds. Who gives up waiting for one leaves, but the call goes on to its end, so that
 * what it made is known and can be taken back.
 */
export class Changes {
  readonly #running = new Map<number, Set<Promise<unknown>>>()

  /**
   * @param port whose mapping changes
   * @param change the call; it ends by a deadline of its own, and says itself what it made
   * @throws what the call does, or the signal's reason
   */
  async run<T>(port: number, change: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const running = change(new AbortController().signal)
    const calls = this.#running.get(port) ?? new Set()
    this.#running.set(port, calls.add(running))
    const over = () => {
      calls.delete(running)
      if (calls.size === 0 && this.#running.get(port) === calls) this.#running.delete(port)
    }
    running.then(over, over)
    return await until(running, signal)
  }

  /** Resolves when no call for the port is under way. @throws the signal's reason */
  async settled(port: number, signal: AbortSignal): Promise<void> {
    await until(Promise.allSettled(this.#running.get(port) ?? []), signal)
  }
}

function until<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onabort = () => reject(signal.reason)
    signal.addEventListener('abort', onabort, { once: true })
    if (signal.aborted) onabort()
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onabort))
  })
}
