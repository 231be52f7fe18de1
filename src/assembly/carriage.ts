import type { Envelope, Letters, Mailbox, Rendezvous } from '../../rendezvous/index.js'

/** A rendezvous that notes whether it was the one that carried a message to a session. */
export class Carriage implements Rendezvous {
  readonly #inner: Rendezvous
  readonly #oncarried: (name: string) => void

  /** @param oncarried is given the name at each message that came to a session's mailbox */
  constructor(inner: Rendezvous, oncarried: (name: string) => void) {
    this.#inner = inner
    this.#oncarried = oncarried
  }

  get name(): string {
    return this.#inner.name
  }

  get latency(): number {
    return this.#inner.latency
  }

  get letters(): Letters | undefined {
    return this.#inner.letters
  }

  get udp(): boolean {
    return this.#inner.udp === true
  }

  post(envelope: Envelope, sealed: Uint8Array, options: { signal: AbortSignal }): Promise<void> {
    return this.#inner.post(envelope, sealed, options)
  }

  receive(mailbox: Mailbox, options: { signal: AbortSignal }): AsyncIterable<Uint8Array> {
    const messages = this.#inner.receive(mailbox, options)
    return mailbox.kind === 'session' ? this.#noted(messages) : messages
  }

  async ready(options: { signal: AbortSignal }): Promise<void> {
    await this.#inner.ready?.(options)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  async *#noted(messages: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const message of messages) {
      this.#oncarried(this.name)
      yield message
    }
  }
}
