import { createHash } from 'node:crypto'
import { asPlexusError, isAbort, PlexusError } from '../src/errors/index.js'
import { sleep } from '../src/net/index.js'
import { forgetOldest } from './forget-oldest.js'
import { Inbox } from './inbox.js'
import type { Envelope, Letters, Mailbox, Rendezvous, RendezvousContext } from './interface.js'
import { type Scope, scope } from './scope.js'

/** Messages remembered so that one which comes over several ways is delivered once. 32 bytes each. */
const MAX_REMEMBERED = 4096
/** Pauses before a rendezvous whose `receive` failed is asked again, in ms: the first, doubling up to the last. */
const FIRST_RETRY = 500
const LAST_RETRY = 30_000

/** Several rendezvous side by side as one: the first to carry a message wins. */
export class SeveralRendezvous implements Rendezvous {
  readonly name: string
  readonly #all: readonly Rendezvous[]
  readonly #context: RendezvousContext
  readonly #life: Scope = scope()
  readonly #receiving = new Set<Promise<unknown>>()
  /** Who carried the last message. */
  #carrier: Rendezvous | undefined

  /** @param all at least one; closed together with this one */
  constructor(all: readonly Rendezvous[], context: RendezvousContext) {
    this.#all = all
    this.#context = context
    this.name = all.map(({ name }) => name).join(', ')
  }

  /** That of the slowest: a side that gives up waiting before it would have done so for nothing. */
  get latency(): number {
    return Math.max(...this.#all.map(({ latency }) => latency))
  }

  /** An answer goes over all, but is there as soon as by the one that carried the question. */
  get returning(): number {
    return this.#carrier?.latency ?? this.latency
  }

  /** Those of the first that has any. */
  get letters(): Letters | undefined {
    return this.#all.find(({ letters }) => letters !== undefined)?.letters
  }

  get udp(): boolean {
    return this.#all.every(({ udp }) => udp === true)
  }

  /**
   * Posts to all at once, and resolves when the first has taken the message. The others go on until the signal
   * aborts.
   * @throws PlexusError when all failed, with every reason: of the kind of the one that a later attempt could mend
   */
  async post(envelope: Envelope, sealed: Uint8Array, options: { signal: AbortSignal }): Promise<void> {
    const { signal } = options
    const reasons: PlexusError[] = []
    // as in the log of the pairing that the message is of
    const session = Buffer.from(envelope.session).toString('hex').slice(0, 8)
    const posts = this.#all.map(async (rendezvous) => {
      try {
        await rendezvous.post(envelope, sealed, options)
        this.#context.log.debug({ rendezvous: rendezvous.name, session }, 'posted')
      } catch (cause) {
        const error = asPlexusError(cause, 'RENDEZVOUS_UNREACHABLE')
        reasons.push(error)
        if (!isAbort(cause))
          this.#context.log.debug(
            { rendezvous: rendezvous.name, code: error.code, session },
            `posting failed: ${error.message}`,
          )
        throw cause
      }
    })
    try {
      await Promise.any(posts)
    } catch {
      if (signal.aborted && isAbort(signal.reason)) throw signal.reason
      const [first] = reasons
      if (first && reasons.length === 1) throw first
      const telling = reasons.find(({ kind }) => kind === 'later') ?? first
      const text = reasons.map(({ message }) => message).join(' ')
      throw new PlexusError(telling?.code ?? 'RENDEZVOUS_UNREACHABLE', text, {
        ...(telling ? { advice: telling.advice } : {}),
        cause: new AggregateError(reasons),
      })
    }
  }

  /** The messages from all, each once. One that fails is logged and asked again, while the others go on. */
  receive(mailbox: Mailbox, { signal }: { signal: AbortSignal }): AsyncIterable<Uint8Array> {
    const inbox = new Inbox()
    const own = scope(signal, this.#life.signal)
    const seen = new Set<string>()
    const deliver = (message: Uint8Array, carrier: Rendezvous) => {
      const digest = createHash('sha256').update(message).digest('base64')
      if (seen.has(digest)) return
      seen.add(digest)
      forgetOldest(seen, MAX_REMEMBERED)
      this.#carrier = carrier
      inbox.push(message)
    }
    const running = Promise.all(
      this.#all.map((rendezvous) => this.#follow(rendezvous, mailbox, own.signal, deliver)),
    ).finally(() => {
      own.close()
      this.#receiving.delete(running)
    })
    this.#receiving.add(running)
    return inbox.take(own.signal)
  }

  /** Resolves when the first of them is ready. */
  async ready(options: { signal: AbortSignal }): Promise<void> {
    await Promise.any(this.#all.map(async (rendezvous) => rendezvous.ready?.(options))).catch(
      (failed: AggregateError) => {
        options.signal.throwIfAborted()
        throw failed.errors[0]
      },
    )
  }

  spent(mailbox: Mailbox): void {
    for (const rendezvous of this.#all) rendezvous.spent?.(mailbox)
  }

  async close(): Promise<void> {
    this.#life.close(new PlexusError('CANCELLED', 'The rendezvous was closed.'))
    const closing = await Promise.allSettled(this.#all.map((rendezvous) => rendezvous.close()))
    await Promise.all(this.#receiving)
    for (const result of closing) if (result.status === 'rejected') throw result.reason
  }

  async #follow(
    rendezvous: Rendezvous,
    mailbox: Mailbox,
    signal: AbortSignal,
    deliver: (message: Uint8Array, carrier: Rendezvous) => void,
  ): Promise<void> {
    const { clock, log } = this.#context
    let pause = FIRST_RETRY
    while (!signal.aborted) {
      const messages = (async () => {
        for await (const message of rendezvous.receive(mailbox, { signal })) {
          pause = FIRST_RETRY
          deliver(message, rendezvous)
        }
      })()
      try {
        await messages
        if (!signal.aborted) log.warn({ rendezvous: rendezvous.name }, 'a rendezvous stopped receiving')
      } catch (cause) {
        if (signal.aborted) return
        const { code, message } = asPlexusError(cause, 'RENDEZVOUS_UNREACHABLE')
        log.warn({ rendezvous: rendezvous.name, code }, `receiving failed, retrying: ${message}`)
      }
      await sleep(clock, pause, signal).catch(() => {})
      pause = Math.min(pause * 2, LAST_RETRY)
    }
  }
}
