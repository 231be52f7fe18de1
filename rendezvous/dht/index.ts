import { asPlexusError, PlexusError } from '../../src/errors/index.js'
import { Inbox } from '../inbox.js'
import type { Envelope, Mailbox, OpenRendezvous, Rendezvous, RendezvousContext } from '../interface.js'
import { mailboxName } from '../mailbox.js'
import { abortable, type Scope, scope } from '../scope.js'
import { Announcement } from './announcement.js'
import { parseBootstrap } from './bootstrap.js'
import { MAX_MESSAGE } from './chunks.js'
import { Doorbell } from './doorbell.js'
import { keyPairOf } from './keyfile.js'
import { DhtNetwork } from './network.js'
import type { IdentityMailbox } from './place.js'
import { CONNECT_PATIENCE, postToAccepter } from './post.js'
import { readSlots, SlotWriter } from './slots.js'

/** What is said of the latency before anything was measured, in ms: searches in the public DHT take 0.3 to 1 s each. */
const UNMEASURED_LATENCY = 1500
/** A message takes a search to store, one to find, and a poll between them, which is this many ms. */
const POLL = 200

/**
 * The DHT as a rendezvous: `dht:` is the public HyperDHT, `dht://host:port` or the option `dht-bootstrap` another
 * network. It works behind every NAT, since nothing but requests to nodes and their replies is ever sent.
 */
export class DhtRendezvous implements Rendezvous {
  readonly name: string
  readonly udp = true
  readonly #network: DhtNetwork
  readonly #context: RendezvousContext
  readonly #writer: SlotWriter
  readonly #life: Scope = scope()
  readonly #receiving = new Map<string, Promise<void>>()
  /** What `ready` waits for: one for each mailbox that is being received. */
  readonly #arrivals = new Map<string, Promise<void>>()
  #pace: number | undefined

  private constructor(name: string, network: DhtNetwork, context: RendezvousContext) {
    this.name = name
    this.#network = network
    this.#context = context
    this.#writer = new SlotWriter(network, context)
  }

  /** @throws PlexusError BAD_RENDEZVOUS */
  static async open(url: URL, context: RendezvousContext): Promise<DhtRendezvous> {
    const bootstrap = parseBootstrap(url, context.options['dht-bootstrap'])
    const named = bootstrap?.map(({ host, port }) => `${host}:${port}`).join(',') ?? ''
    return new DhtRendezvous(`dht:${named}`, await DhtNetwork.open(bootstrap, context), context)
  }

  /** Twice what storing a message took, and a poll; more for a start than what is measured in a near network. */
  get latency(): number {
    return this.#pace === undefined ? UNMEASURED_LATENCY : Math.round(2 * this.#pace + POLL)
  }

  async post(
    { to, session }: Envelope,
    sealed: Uint8Array,
    { signal }: { signal: AbortSignal },
  ): Promise<void> {
    if (sealed.length === 0 || sealed.length > MAX_MESSAGE)
      throw new PlexusError(
        'INTERNAL',
        `A message of ${sealed.length} bytes does not fit in the DHT (1 to ${MAX_MESSAGE}).`,
      )
    if (to.kind === 'identity') {
      // as in the log of the pairing that the message is of
      const short = Buffer.from(session).toString('hex').slice(0, 8)
      const context = { ...this.#context, log: this.#context.log.child({ session: short }) }
      return postToAccepter(this.#network, context, to, sealed, signal)
    }
    const own = scope(signal, this.#life.signal)
    try {
      await this.#network.connected(own.signal, CONNECT_PATIENCE)
      const start = this.#context.clock.now()
      await this.#writer.post(to, sealed, own.signal)
      const took = this.#context.clock.now() - start
      this.#pace = this.#pace === undefined ? took : (3 * this.#pace + took) / 4
    } catch (reason) {
      throw this.#network.explain(reason)
    } finally {
      own.close()
    }
  }

  receive(mailbox: Mailbox, { signal }: { signal: AbortSignal }): AsyncIterable<Uint8Array> {
    const inbox = new Inbox()
    const own = scope(signal, this.#life.signal)
    const name = mailboxName(mailbox)
    let arrived: () => void = () => {}
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve
    })
    this.#arrivals.set(name, arrival)
    const deliver = (message: Buffer) => inbox.push(message)
    const run =
      mailbox.kind === 'identity'
        ? this.#accept(mailbox, own.signal, deliver, arrived)
        : this.#poll(mailbox, own.signal, deliver, arrived)
    let failure: unknown
    const running = run
      .catch((cause) => {
        failure = cause
        const { code, message } = asPlexusError(cause)
        if (!own.signal.aborted) this.#context.log.error({ code }, `receiving from the DHT ended: ${message}`)
      })
      .finally(() => {
        own.close()
        this.#receiving.delete(name)
        if (this.#arrivals.get(name) === arrival) this.#arrivals.delete(name)
      })
    this.#receiving.set(name, running)
    return untilFailed(inbox.take(own.signal), () => (signal.aborted ? undefined : failure))
  }

  async ready({ signal }: { signal: AbortSignal }): Promise<void> {
    const own = scope(signal, this.#life.signal)
    try {
      await this.#network.connected(own.signal)
      await abortable(Promise.all(this.#arrivals.values()), own.signal)
    } finally {
      own.close()
    }
  }

  async close(): Promise<void> {
    this.#life.close(new PlexusError('CANCELLED', 'The rendezvous was closed.'))
    await Promise.all(this.#receiving.values())
    await this.#network.close()
  }

  async #accept(
    mailbox: IdentityMailbox,
    signal: AbortSignal,
    deliver: (message: Buffer) => void,
    arrived: () => void,
  ): Promise<void> {
    const keyPair = await keyPairOf(mailbox, this.#context)
    if (signal.aborted) return
    const doorbell = new Doorbell(this.#network, this.#context, deliver)
    const announcement = new Announcement(this.#network, doorbell, keyPair, mailbox, this.#context)
    void announcement.first.then(arrived)
    await abortable(new Promise<never>(() => {}), signal).catch(() => {})
    // a network that is closed takes its servers with it, and says goodbye for all of them at once
    void doorbell.close()
    await announcement.close()
  }

  async #poll(
    mailbox: Extract<Mailbox, { kind: 'session' }>,
    signal: AbortSignal,
    deliver: (message: Buffer) => void,
    arrived: () => void,
  ): Promise<void> {
    await this.#network.connected(signal).catch(() => {})
    if (signal.aborted) return
    arrived()
    await readSlots(this.#network, this.#context, mailbox, signal, deliver)
  }
}

/** Opens `dht:`, `dht:host:port,host:port` or `dht://host:port`. */
/** What comes, and then the failure that ended it, if one did. */
async function* untilFailed<T>(messages: AsyncIterable<T>, failure: () => unknown): AsyncGenerator<T> {
  yield* messages
  const thrown = failure()
  if (thrown !== undefined) throw thrown
}

export const open: OpenRendezvous = (url, context) => DhtRendezvous.open(url, context)

export { type DhtNode, openDhtNode } from './node.js'
