import HyperDHT, { type NodeAddress } from 'hyperdht'
import { PlexusError } from '../../src/errors/index.js'
import { sleep } from '../../src/net/index.js'
import { forgetOldest } from '../forget-oldest.js'
import type { RendezvousContext } from '../interface.js'
import { mailboxName, messageName } from '../mailbox.js'
import { scope } from '../scope.js'
import { parseHead, split } from './chunks.js'
import { fetchChunks } from './fetch.js'
import type { DhtNetwork } from './network.js'
import { type SessionMailbox, slotKey } from './place.js'

/**
 * A session mailbox in the DHT is a row of slots: mutable records under keys that both sides derive from the seed.
 * The first message lies in slot 0, the next one in slot 1. A record is written with `seq` 0 and never changed, and
 * nodes refuse another value under the same `seq`: who comes first has the slot, who comes later sees it and takes
 * the next one. So nothing is lost when two write at once, or when a writer has restarted and counts from 0 again.
 */

/** Pauses between two looks into a slot, in ms: the first, how each grows, and the longest at first and later on. */
const FIRST_POLL = 100
const POLL_GROWTH = 1.2
const SLOW_POLL = 1000
/** After 30 s the peer is not on its way any more, but may be starting. */
const SLOW_AFTER = 30_000
const SLOWEST_POLL = 2000
/** How long one look may take, in ms: a node that has died must not hold up the next look. */
const POLL_PATIENCE = 1500
/** Nodes that are asked in a look once the ones closest to the slot are known, and how often they are searched anew. */
const POLLED_NODES = 8
const SEARCH_EVERY = 8
/** How long the chunks of a message that is there are fetched, in ms. */
const FETCH_PATIENCE = 20_000
/** Slots of one mailbox: no session has as many messages. */
const MAX_SLOTS = 64
/** How long nodes are asked what they hold in a slot after writing to it, in ms. */
const VERIFY_PATIENCE = 1000
/** Mailboxes whose slots are remembered by a writer, so that it does not begin at 0 each time: more than sessions are under way. */
const MAX_WRITTEN = 64

interface Written {
  next: number
  /** The slot of each message that was written, by its name: the same bytes take no second one. */
  readonly slots: Map<string, number>
  /** The write before, as one writer writes one message after the other. */
  last: Promise<void>
}

/** Writes to session mailboxes. */
export class SlotWriter {
  readonly #network: DhtNetwork
  readonly #context: RendezvousContext
  readonly #written = new Map<string, Written>()

  constructor(network: DhtNetwork, context: RendezvousContext) {
    this.#network = network
    this.#context = context
  }

  /** Leaves a message in the first free slot, however often it takes. @throws the signal's reason */
  async post(mailbox: SessionMailbox, message: Uint8Array, signal: AbortSignal): Promise<void> {
    const name = mailboxName(mailbox)
    const written = this.#written.get(name) ?? { next: 0, slots: new Map(), last: Promise.resolve() }
    this.#written.delete(name)
    this.#written.set(name, written)
    forgetOldest(this.#written, MAX_WRITTEN)

    const { head, chunks } = split(message, HyperDHT.hash)
    const stored = Promise.all(
      chunks.map((chunk) => this.#network.persist(() => this.#network.putImmutable(chunk, signal), signal)),
    )
    const turn = written.last.then(() => this.#write(mailbox, written, messageName(message), head, signal))
    written.last = turn.catch(() => {})
    await Promise.all([stored, turn])
  }

  async #write(
    mailbox: SessionMailbox,
    written: Written,
    message: string,
    head: Buffer,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, random, log } = this.#context
    let tries = 0
    for (let index = written.slots.get(message) ?? written.next; ; ) {
      if (tries++ >= MAX_SLOTS) {
        throw new PlexusError('RENDEZVOUS_UNREACHABLE', 'The mailbox of the session is full.')
      }
      const keyPair = slotKey(mailbox, index % MAX_SLOTS)
      const nodes = await this.#network.persist(() => this.#network.put(keyPair, head, 0, signal), signal)
      const held = await this.#held(keyPair.publicKey, nodes, signal)
      if (held.some((value) => !value.equals(head))) {
        // somebody else's, perhaps on some nodes only: leave that slot to them, and do not run into them again
        log.debug({ slot: index }, 'the slot is taken')
        written.next = Math.max(written.next, ++index)
        if (held.some((value) => value.equals(head))) await sleep(clock, (random(1)[0] ?? 0) / 2, signal)
        continue
      }
      if (held.length === 0) continue
      written.slots.set(message, index)
      written.next = Math.max(written.next, index + 1)
      return
    }
  }

  /** What the nodes hold under a key, each asked by itself. */
  async #held(key: Buffer, nodes: readonly NodeAddress[], signal: AbortSignal): Promise<Buffer[]> {
    const limit = scope(signal)
    const cancel = this.#context.clock.timer(VERIFY_PATIENCE, () => limit.close())
    const replies = await Promise.all(nodes.map((node) => this.#network.get(key, limit.signal, [node])))
    cancel()
    limit.close()
    signal.throwIfAborted()
    return replies.flatMap(({ value }) => value ?? [])
  }
}

/** Reads a session mailbox: looks into its next slot, ever more slowly, until the signal aborts. */
export async function readSlots(
  network: DhtNetwork,
  context: RendezvousContext,
  mailbox: SessionMailbox,
  signal: AbortSignal,
  deliver: (message: Buffer) => void,
): Promise<void> {
  const { clock, log } = context
  const start = clock.now()
  const fetching: Promise<void>[] = []
  let pause = FIRST_POLL
  let near: readonly NodeAddress[] = []
  for (let index = 0, looks = 0; !signal.aborted && index < MAX_SLOTS; looks++) {
    const limit = scope(signal)
    const cancel = clock.timer(POLL_PATIENCE, () => limit.close())
    const known = looks % SEARCH_EVERY === 0 ? [] : near
    const { value, closest } = await network.get(slotKey(mailbox, index).publicKey, limit.signal, known)
    cancel()
    limit.close()
    if (value) {
      const head = parseHead(value)
      if (!head) log.warn({ slot: index }, 'skipping a record in the mailbox that is not a message')
      else fetching.push(fetch(head))
      index++
      looks = -1
      near = []
      pause = FIRST_POLL
      continue
    }
    if (known.length === 0) near = closest.slice(0, POLLED_NODES)
    await sleep(clock, pause, signal).catch(() => {})
    pause = Math.min(pause * POLL_GROWTH, clock.now() - start > SLOW_AFTER ? SLOWEST_POLL : SLOW_POLL)
  }
  await Promise.all(fetching)

  async function fetch(head: NonNullable<ReturnType<typeof parseHead>>): Promise<void> {
    const limit = scope(signal)
    const cancel = clock.timer(FETCH_PATIENCE, () => limit.close())
    const message = await fetchChunks(network, clock, head, limit.signal)
    cancel()
    limit.close()
    if (message) deliver(message)
    else if (!signal.aborted)
      log.warn({ length: head.length }, 'a message is there, but its chunks are missing')
  }
}
