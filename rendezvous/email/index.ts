import { PlexusError } from '../../src/errors/index.js'
import { sleep } from '../../src/net/index.js'
import { Inbox } from '../inbox.js'
import type { Envelope, Mailbox, OpenRendezvous, Rendezvous, RendezvousContext } from '../interface.js'
import { mailboxName } from '../mailbox.js'
import { type Scope, scope } from '../scope.js'
import { type Account, accountOf } from './account.js'
import { LetterBox } from './letter-box.js'
import { addressOf, isAddress, writeMail } from './message.js'
import { Submission } from './submission.js'
import { Watch } from './watch.js'

/**
 * Email as a rendezvous: `email:`, with the servers and the login in the `email-…` options. A message goes from the
 * owner of the sender's identity to the owner of the receiver's; with `email:box@example.com` all goes from and to that
 * one address, which both sides read. One account for both sides works in either case: each takes only the mail of its
 * own mailboxes.
 */

/** Octets of the largest message. */
const MAX_MESSAGE = 65_536
/** Typical latency in ms: a server that queues, one that scans for viruses, and half a second until it tells. */
const LATENCY = 3000
/** How long the connection is held after the last `receive`, in ms: long enough to tidy up, and for a next attempt. */
const LINGER = 10_000

class EmailRendezvous implements Rendezvous {
  readonly name: string
  readonly latency = LATENCY
  readonly letters: LetterBox
  readonly #shared: string | undefined
  readonly #context: RendezvousContext
  readonly #submission: Submission
  readonly #watch: Watch
  readonly #life: Scope = scope()
  readonly #inboxes = new Map<string, { readonly kind: Mailbox['kind']; readonly inbox: Inbox }>()
  #watching: { readonly own: Scope; readonly over: Promise<void> } | undefined
  #lingering: Scope | undefined
  readonly #posts = new Set<Promise<unknown>>()

  constructor(shared: string | undefined, account: Account, context: RendezvousContext) {
    this.name = `email:${shared ?? account.login}`
    this.#shared = shared
    this.#context = context
    this.#submission = new Submission(account, context)
    const inboxes = this.#inboxes
    const letters = new LetterBox(account, context, {
      begin: () => this.#begin(),
      left: () => this.#rest(),
      disturb: () => this.#watch.disturb(),
      watching: (signal) => this.#watch.watching(signal),
      send: (mail, signal) => this.#tracked(this.#submission.send(mail, signal)),
      life: this.#life.signal,
    })
    this.letters = letters
    this.#watch = new Watch(
      account,
      context,
      {
        deliver: (mailbox, sealed) => inboxes.get(mailbox)?.inbox.push(sealed),
        has: (mailbox) => inboxes.has(mailbox),
        get urgent() {
          return letters.urgent || [...inboxes.values()].some(({ kind }) => kind === 'session')
        },
      },
      letters,
    )
  }

  async post(
    { to, from, expires }: Envelope,
    sealed: Uint8Array,
    { signal }: { signal: AbortSignal },
  ): Promise<void> {
    signal.throwIfAborted()
    this.#life.signal.throwIfAborted()
    if (sealed.length === 0 || sealed.length > MAX_MESSAGE)
      throw new PlexusError(
        'INTERNAL',
        `A message of ${sealed.length} bytes does not fit (1 to ${MAX_MESSAGE}).`,
      )
    const label = { mailbox: mailboxName(to), expires: Math.max(0, Math.min(expires, 9_999_999_999_999)) }
    const mail = writeMail(label, sealed, {
      from: this.#shared ?? addressOf(from),
      to: this.#shared ?? addressOf(to.identity),
      date: this.#context.clock.date(),
    })
    const own = scope(signal, this.#life.signal)
    // who cannot read its own mailbox would wait for an answer in vain, and hear of the peer's silence
    const readable = this.#watching ? this.#watch.watching(own.signal) : Promise.resolve()
    const refused = new Promise<never>((_, reject) => readable.catch(reject))
    refused.catch(() => {})
    this.#watch.remember(label.mailbox)
    const sent = this.#tracked(this.#submission.send(mail, own.signal))
    try {
      await Promise.race([sent, refused])
      if (to.kind === 'identity') await readable
    } catch (thrown) {
      if (signal.aborted && thrown === own.signal.reason) throw signal.reason
      throw thrown
    } finally {
      own.close()
    }
  }

  receive(mailbox: Mailbox, { signal }: { signal: AbortSignal }): AsyncIterable<Uint8Array> {
    const name = mailboxName(mailbox)
    const inbox = new Inbox()
    const own = scope(signal, this.#life.signal)
    if (!own.signal.aborted) {
      const entry = { kind: mailbox.kind, inbox }
      this.#inboxes.set(name, entry)
      own.signal.addEventListener('abort', () => this.#left(name, entry, own), { once: true })
      this.#begin()
    }
    return inbox.take(own.signal)
  }

  spent(mailbox: Mailbox): void {
    this.#watch.spent(mailboxName(mailbox))
  }

  async ready({ signal }: { signal: AbortSignal }): Promise<void> {
    for (;;) {
      try {
        return await this.#watch.watching(signal)
      } catch (thrown) {
        signal.throwIfAborted()
        // it was told already, and is tried again
        await sleep(this.#context.clock, LINGER, signal)
        if (this.#life.signal.aborted) throw thrown
      }
    }
  }

  async close(): Promise<void> {
    this.#lingering?.close()
    this.#life.close(new PlexusError('CANCELLED', 'The rendezvous was closed.'))
    await Promise.all([...this.#posts, this.#watching?.over])
  }

  #begin(): void {
    this.#lingering?.close()
    this.#lingering = undefined
    if (this.#watching) {
      this.#watch.nudge()
      return
    }
    const own = scope(this.#life.signal)
    const over = this.#watch.run(own.signal).finally(() => own.close())
    this.#watching = { own, over }
  }

  #left(name: string, entry: { readonly inbox: Inbox }, own: Scope): void {
    own.close()
    if (this.#inboxes.get(name) === entry) this.#inboxes.delete(name)
    this.#rest()
  }

  /** `close` waits for what is being handed in. */
  #tracked(sent: Promise<void>): Promise<void> {
    const ended = sent.catch(() => {}).finally(() => this.#posts.delete(ended))
    this.#posts.add(ended)
    return sent
  }

  get #receiving(): boolean {
    return this.#inboxes.size > 0 || this.letters.size > 0
  }

  /** Lets go of the mailbox after a while, if nobody receives any more. */
  #rest(): void {
    if (this.#receiving || this.#life.signal.aborted) return
    const lingering = scope(this.#life.signal)
    this.#lingering = lingering
    void sleep(this.#context.clock, LINGER, lingering.signal).then(
      () => this.#leave(),
      () => {},
    )
  }

  /** Lets go of the mailbox; who comes meanwhile begins anew. */
  async #leave(): Promise<void> {
    this.#watching?.own.close()
    await this.#watching?.over
    this.#watching = undefined
    if (this.#receiving && !this.#life.signal.aborted) this.#begin()
  }
}

/** Opens `email:`. @throws PlexusError BAD_RENDEZVOUS, BAD_FLAG */
export const open: OpenRendezvous = (url, context) => {
  const shared = url.pathname === '' ? undefined : decodeURIComponent(url.pathname)
  if (url.host !== '' || url.search !== '' || url.hash !== '' || (shared !== undefined && !isAddress(shared)))
    throw new PlexusError('BAD_RENDEZVOUS', `'${url.href}' does not name a mailbox.`, {
      advice: 'Write email:, or email:box@example.com if both sides read that one.',
    })
  return new EmailRendezvous(shared, accountOf(context), context)
}
