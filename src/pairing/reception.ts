import type { Mailbox } from '../../rendezvous/interface.js'
import { PlexusError } from '../errors/index.js'
import type { Certificate, Host, KeyKind } from '../identity/index.js'
import { sleep } from '../net/index.js'
import type { PairingContext } from './context.js'
import { identityMailbox } from './correspondence.js'
import { Rate } from './rate.js'

/**
 * How many messages that come to nothing are opened in a second, and at once: anybody who has the certificate can leave
 * as many as it likes, and a peer too. What is beyond waits.
 */
const MAX_WASTED = 200
const WASTED_AT_ONCE = 500

/** What one weighs, by the key that opens it: RSA costs a decryption aside, P-384 1.2 ms on the loop, four times P-256. */
const WEIGHT: Readonly<Record<KeyKind, number>> = { rsa: 2, p256: 1, p384: 4 }

/**
 * And what one weighs whose signature was not looked at, which with RSA is little of the work. Four times as many of these:
 * they come from those who fill the queue, and everybody else waits until it is empty.
 */
const UNVERIFIED_WEIGHT: Readonly<Record<KeyKind, number>> = { rsa: 2, p256: 0.25, p384: 1 }

/** How many messages may wait to be opened; the oldest give way. Of the largest these are 4 MiB. */
const MAX_WAITING = 512

/** When more than this wait, the newest has its turn as often as the oldest: whoever leaves so many holds up nobody else. */
const CROWD = 16

/**
 * Whether a message was of any use: `wasted` ones are what strangers write, and what peers write that comes to nothing;
 * an `excess` is dropped unread, as its sender says too much.
 */
export type Use = 'used' | 'wasted' | 'excess'

/**
 * The mail of an accepter: one mailbox for each of its certificates, which is one, and two during a rollover. When
 * the host changes, mailboxes are opened and closed; those that stay are not touched.
 */
export class Reception {
  readonly #context: PairingContext
  readonly #open = new Map<string, { close: () => void; over: Promise<void> }>()
  #host: Host
  #take: ((sealed: Uint8Array) => Promise<Use>) | undefined
  readonly #wasted: Rate
  /** Messages that have come, the oldest first: they are taken one after the other, from whichever mailbox they are. */
  readonly #waiting: Uint8Array[] = []
  #turn: 'oldest' | 'newest' = 'oldest'
  #taking: Promise<void> | undefined
  readonly #over = new AbortController()
  /** Ends `run`, with an error or without. */
  #end: { ok: () => void; failed: (thrown: unknown) => void } = { ok: () => {}, failed: () => {} }

  constructor(context: PairingContext) {
    this.#context = context
    this.#host = context.host
    this.#wasted = new Rate(context.clock, WASTED_AT_ONCE, (WASTED_AT_ONCE / MAX_WASTED) * 1000)
  }

  /** Receives in the mailboxes of this host from now on. */
  adopt(host: Host): void {
    this.#host = host
    if (this.#take) this.#arrange()
  }

  /**
   * Receives until the signal aborts. `take` is never called again before it has settled: it opens a message and says
   * what that was good for, and whatever takes longer goes on by itself.
   * @throws what the rendezvous throws
   */
  async run(signal: AbortSignal, take: (sealed: Uint8Array) => Promise<Use>): Promise<void> {
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
      this.#over.abort()
      const open = [...this.#open.values()]
      for (const { close } of open) close()
      await Promise.all(open.map(({ over }) => over))
      await this.#taking
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
    const close = () => controller.abort(new PlexusError('CANCELLED', 'This mailbox is no longer needed.'))
    this.#open.set(fingerprint, { close, over })
  }

  /** Never rejects. A mailbox that ends by itself ends everything: the rendezvous was closed. */
  async #follow(mailbox: Mailbox, signal: AbortSignal): Promise<void> {
    try {
      for await (const sealed of this.#context.rendezvous.receive(mailbox, { signal })) {
        this.#waiting.push(sealed)
        if (this.#waiting.length > MAX_WAITING) this.#waiting.shift()
        this.#taking ??= this.#takeAll()
      }
      if (!signal.aborted) this.#end.ok()
    } catch (thrown) {
      if (!signal.aborted) this.#end.failed(thrown)
    }
  }

  async #takeAll(): Promise<void> {
    try {
      for (let sealed = this.#next(); sealed && this.#take; sealed = this.#next()) {
        const use = await this.#take(sealed)
        if (use !== 'used') await this.#waste(use)
      }
    } finally {
      this.#taking = undefined
    }
  }

  #next(): Uint8Array | undefined {
    if (this.#waiting.length <= CROWD) return this.#waiting.shift()
    this.#turn = this.#turn === 'newest' ? 'oldest' : 'newest'
    return this.#turn === 'newest' ? this.#waiting.pop() : this.#waiting.shift()
  }

  async #waste(use: 'wasted' | 'excess'): Promise<void> {
    const { clock } = this.#context
    const cost = (use === 'excess' ? UNVERIFIED_WEIGHT : WEIGHT)[this.#host.certificate.keyKind]
    while (this.#take && !this.#wasted.allows('', cost)) {
      await sleep(clock, this.#wasted.wait('', cost), this.#over.signal).catch(() => {})
    }
  }
}
