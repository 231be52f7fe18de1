import type { Mailbox } from '../../rendezvous/interface.js'
import { PlexusError } from '../errors/index.js'
import type { Certificate, Host } from '../identity/index.js'
import type { PairingContext } from './context.js'
import { identityMailbox } from './correspondence.js'

/**
 * The mail of an accepter: one mailbox for each of its certificates, which is one, and two during a rollover. When
 * the host changes, mailboxes are opened and closed; those that stay are not touched.
 */
export class Reception {
  readonly #context: PairingContext
  readonly #open = new Map<string, { close: () => void; over: Promise<void> }>()
  #host: Host
  #take: ((sealed: Uint8Array) => Promise<void>) | undefined
  /** Messages are taken one after the other, from whichever mailbox they come. */
  #last: Promise<void> = Promise.resolve()
  /** Ends `run`, with an error or without. */
  #end: { ok: () => void; failed: (thrown: unknown) => void } = { ok: () => {}, failed: () => {} }

  constructor(context: PairingContext) {
    this.#context = context
    this.#host = context.host
  }

  /** Receives in the mailboxes of this host from now on. */
  adopt(host: Host): void {
    this.#host = host
    if (this.#take) this.#arrange()
  }

  /**
   * Receives until the signal aborts. `take` is never called again before it has settled.
   * @throws what the rendezvous throws
   */
  async run(signal: AbortSignal, take: (sealed: Uint8Array) => Promise<void>): Promise<void> {
    this.#take = take
    let onabort = () => {}
    try {
      await new Promise<void>((resolve, reject) => {
        this.#end = { ok: resolve, failed: reject }
        onabort = resolve
        signal.addEventListener('abort', onabort, { once: true })
        if (signal.aborted) return resolve()
        this.#arrange()
      })
    } finally {
      signal.removeEventListener('abort', onabort)
      this.#take = undefined
      const open = [...this.#open.values()]
      for (const { close } of open) close()
      await Promise.all(open.map(({ over }) => over))
      await this.#last
    }
  }

  #arrange(): void {
    const { certificate, next } = this.#host
    const wanted = new Map<string, Certificate>()
    for (const each of next ? [certificate, next.certificate] : [certificate]) {
      wanted.set(each.fingerprint.toString('hex'), each)
    }
    for (const [fingerprint, { close }] of this.#open) if (!wanted.has(fingerprint)) close()
    for (const [fingerprint, each] of wanted) {
      if (!this.#open.has(fingerprint)) this.#receive(fingerprint, each)
    }
  }

  #receive(fingerprint: string, certificate: Certificate): void {
    const controller = new AbortController()
    const mailbox = identityMailbox(this.#context.app, this.#host.name, certificate)
    const over = this.#follow(mailbox, controller.signal).finally(() => {
      this.#open.delete(fingerprint)
      if (controller.signal.aborted && this.#take) this.#arrange() // it may be wanted again by now
    })
    const close = () => controller.abort(new PlexusError('CANCELLED', 'This mailbox is not needed any more.'))
    this.#open.set(fingerprint, { close, over })
  }

  /** Never rejects. A mailbox that ends by itself ends everything: the rendezvous was closed. */
  async #follow(mailbox: Mailbox, signal: AbortSignal): Promise<void> {
    try {
      for await (const sealed of this.#context.rendezvous.receive(mailbox, { signal })) {
        await this.#takeInTurn(sealed)
      }
      if (!signal.aborted) this.#end.ok()
    } catch (thrown) {
      if (!signal.aborted) this.#end.failed(thrown)
    }
  }

  #takeInTurn(sealed: Uint8Array): Promise<void> {
    const take = this.#take
    if (!take) return Promise.resolve()
    this.#last = this.#last.then(() => take(sealed))
    return this.#last
  }
}
