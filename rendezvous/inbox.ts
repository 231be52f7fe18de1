/** How many messages wait for a slow reader; the oldest give way. 512 of the largest are 8 MiB. */
const CAPACITY = 512

/** What has arrived in a mailbox and was not taken yet. */
export class Inbox<Message = Uint8Array> {
  readonly #messages: Message[] = []
  #wake: (() => void) | undefined

  /** Puts a message in. */
  push(message: Message): void {
    if (this.#messages.length >= CAPACITY) this.#messages.shift()
    this.#messages.push(message)
    this.#wake?.()
  }

  /** The messages as they come, each once, until the signal aborts. For one reader. */
  async *take(signal: AbortSignal): AsyncGenerator<Message, void, void> {
    const onabort = () => this.#wake?.()
    signal.addEventListener('abort', onabort, { once: true })
    try {
      while (!signal.aborted) {
        const message = this.#messages.shift()
        if (message) {
          yield message
          continue
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        this.#wake = undefined
      }
    } finally {
      signal.removeEventListener('abort', onabort)
    }
  }
}
