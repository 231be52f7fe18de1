/**
 * Lets one search at a time load the network: some carrier NATs and home routers have small session tables. Whoever
 * comes later waits for its turn.
 */
export class SearchGate {
  #last: Promise<void> = Promise.resolve()

  /**
   * Resolves when it is this one's turn, with what ends it.
   * @throws the signal's reason when it aborts before
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    const before = this.#last
    let leave = () => {}
    this.#last = new Promise((resolve) => {
      leave = resolve
    })
    // a turn that was given up is passed on when it comes
    void before.then(() => {
      if (signal.aborted) leave()
    })
    await new Promise<void>((resolve, reject) => {
      const onabort = () => reject(signal.reason)
      if (signal.aborted) return onabort()
      signal.addEventListener('abort', onabort, { once: true })
      void before.then(() => {
        signal.removeEventListener('abort', onabort)
        resolve()
      })
    })
    return leave
  }
}
