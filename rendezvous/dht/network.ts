import { isIPv4 } from 'node:net'
import type { KeyPair, LookupReply, NodeAddress, Query, QueryOptions } from 'hyperdht'
import { isAbort, PlexusError } from '../../src/errors/index.js'
import { type HostPort, sleep } from '../../src/net/index.js'
import type { RendezvousContext } from '../interface.js'
import { abortable, type Scope, scope } from '../scope.js'
import { findStranger, foreign, resolveBootstrap, unreachable } from './bootstrap.js'
import { HeldDht, type HeldOptions, REPLICAS } from './held.js'

/**
 * - `joining`: no node has answered yet, and it is too early to say why.
 * - `connected`: at least one node of the network is known and has answered.
 * - `silent`: no node answers. Tried again for ever.
 * - `foreign`: what answers at the bootstrap addresses is another network. Tried again for ever.
 * - `closed`: over.
 */
export type NetworkState = 'joining' | 'connected' | 'silent' | 'foreign' | 'closed'

/**
 * How long the first search of the network may last before what it found counts as all there is, in ms: ten round
 * trips to the other side of the world. It ends by itself when all have answered, unless a bootstrap node is dead.
 */
const SETTLE_PATIENCE = 3000
/** First pause before who answers at the bootstrap is looked into, and the network searched again; doubles, in ms. */
const FIRST_RETRY = 800
const LAST_RETRY = 2500
/** How long an operation that nobody bounds may take, in ms: hyperdht gives up a dead node after 3 to 5 s. */
const OPERATION_PATIENCE = 12_000
/** Pause before a record that no node took is stored again, in ms. */
const STORE_AGAIN = 300
/** How long saying goodbye to the network may take when closing, in ms. */
const GOODBYE_PATIENCE = 700

/** Our place in a HyperDHT network: storing and finding records, and knowing whether the network is there. */
export class DhtNetwork {
  readonly dht: HeldDht
  readonly #context: RendezvousContext
  /** Undefined for the public network. */
  readonly #bootstrap: readonly NodeAddress[] | undefined
  readonly #life: Scope = scope()
  readonly #listeners = new Set<(state: NetworkState) => void>()
  readonly #started: number
  readonly #settled: Promise<unknown>
  readonly #watching: Promise<void>
  #state: NetworkState = 'joining'
  #failure: PlexusError | undefined

  private constructor(bootstrap: readonly NodeAddress[] | undefined, context: RendezvousContext) {
    this.#context = context
    this.#bootstrap = bootstrap
    this.#started = context.clock.now()
    this.dht = new HeldDht(bootstrap)
    let enough: () => void = () => {}
    const large = new Promise<void>((resolve) => {
      enough = resolve
    })
    this.dht.on('add-node', () => {
      this.#become('connected')
      if (this.dht.toArray({ limit: REPLICAS }).length >= REPLICAS) enough()
    })
    this.dht.on('remove-node', () => {
      if (this.#state === 'connected' && !this.#hasNodes()) this.#become('joining')
    })
    this.#settled = Promise.race([
      large,
      this.dht.fullyBootstrapped().catch(() => {}),
      sleep(context.clock, SETTLE_PATIENCE, this.#life.signal).catch(() => {}),
    ]).then(() => {
      this.dht.settled = true
    })
    this.#watching = this.#watch()
  }

  /** Joins a network. @param bootstrap its nodes; undefined is the public network */
  static async open(bootstrap: readonly HostPort[] | undefined, context: RendezvousContext) {
    return new DhtNetwork(bootstrap && (await resolveBootstrap(bootstrap, context.clock)), context)
  }

  get state(): NetworkState {
    return this.#state
  }

  /** Why it is not connected, once that is known. */
  get failure(): PlexusError | undefined {
    return this.#state === 'connected' ? undefined : this.#failure
  }

  /** Aborts when the network is closed. */
  get signal(): AbortSignal {
    return this.#life.signal
  }

  /**
   * The error to show for an operation that its signal ended: why the network was not there, rather than that time
   * ran out. A cancellation stays one.
   */
  explain(reason: unknown): unknown {
    if (isAbort(reason) || this.#state === 'connected') return reason
    return this.failure ?? unreachable(this.#bootstrap, reason)
  }

  /** Calls back at each change of state until the returned function is called. */
  onstate(listener: (state: NetworkState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Waits until the network is there.
   * @param patience ms after which a silent network is an error; without it, as long as it takes
   * @throws PlexusError RENDEZVOUS_FOREIGN, RENDEZVOUS_UNREACHABLE (both only with `patience`); the signal's reason
   */
  async connected(signal: AbortSignal, patience?: number): Promise<void> {
    while (this.#state !== 'connected') {
      signal.throwIfAborted()
      if (this.#state === 'closed') throw closed()
      if (patience !== undefined && this.#failure) {
        const waited = this.#context.clock.now() - this.#started
        if (this.#state === 'foreign' || waited >= patience) throw this.#failure
      }
      await this.#change(signal)
    }
  }

  /** Waits until it is known whether the network is a small one, or a large one that needs searching. */
  async settled(signal: AbortSignal): Promise<void> {
    await abortable(this.#settled, signal)
  }

  /**
   * Stores a mutable record. Resolves when one node has it at least; the others get it in the background.
   * @param seq nodes refuse a lower one than they have, and another value under the same one
   * @returns the nodes that were to hold it
   */
  async put(
    keyPair: KeyPair,
    value: Uint8Array,
    seq: number,
    signal: AbortSignal,
  ): Promise<readonly NodeAddress[]> {
    return this.#everywhere(signal, async (options) => {
      const { closestNodes } = await this.dht.mutablePut(keyPair, value, { ...options, seq })
      return closestNodes
    })
  }

  /** Stores an immutable record, as `put` does. */
  async putImmutable(value: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.#everywhere(signal, async (options) => {
      await this.dht.immutablePut(value, options)
      return []
    })
  }

  /** The first valid mutable record that is found under a key. @param near the nodes to ask, instead of a search */
  async get(
    publicKey: Uint8Array,
    signal: AbortSignal,
    near?: readonly NodeAddress[],
  ): Promise<{ value?: Buffer; closest: readonly NodeAddress[] }> {
    const where = near?.length ? { nodes: near, onlyClosestNodes: true } : {}
    let closest: readonly NodeAddress[] = []
    const found = await this.operate(
      signal,
      (options) => this.dht.mutableGet(publicKey, { ...where, ...options, latest: false }),
      (query) => {
        closest = query.closestNodes
      },
    )
    return found ? { value: found.value, closest } : { closest }
  }

  /** An immutable record; hyperdht has checked that it is the one of this hash. */
  async getImmutable(hash: Uint8Array, signal: AbortSignal): Promise<Buffer | undefined> {
    return (await this.operate(signal, (options) => this.dht.immutableGet(hash, options)))?.value
  }

  /** Stores something again and again until it is done. @throws the signal's reason */
  async persist<T>(store: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        return await store()
      } catch {
        signal.throwIfAborted()
        await sleep(this.#context.clock, STORE_AGAIN, signal)
      }
    }
  }

  /**
   * The bootstrap nodes, where inviters begin, of a network so small that each of its nodes holds every record; none
   * of a large one.
   */
  get smallBootstrap(): readonly NodeAddress[] {
    if (this.dht.toArray({ limit: REPLICAS }).length >= REPLICAS) return []
    return this.#bootstrap?.filter(({ host }) => isIPv4(host)) ?? []
  }

  /** Who announces on a topic, reply by reply. */
  async lookup(
    topic: Buffer,
    signal: AbortSignal,
    found: (peers: LookupReply['peers']) => void,
  ): Promise<void> {
    await this.operate(signal, async (options) => {
      for await (const reply of this.dht.lookup(topic, options)) found(reply.peers)
    })
  }

  /** Announces a key on a topic, for the 13 minutes at least that nodes keep it. */
  async announce(
    topic: Buffer,
    keyPair: KeyPair,
    relays: readonly NodeAddress[],
    signal: AbortSignal,
  ): Promise<void> {
    await this.#everywhere(signal, async (options) => {
      await this.dht.announce(topic, keyPair, relays, options).finished()
      return []
    })
  }

  /**
   * Runs an operation of hyperdht that ends early, with undefined, when the signal aborts or it takes too long; an
   * operation that fails, as it does when too few nodes answer, gives undefined too.
   */
  async operate<T>(
    signal: AbortSignal,
    run: (options: QueryOptions) => Promise<T>,
    after?: (query: Query<unknown>) => void,
  ): Promise<T | undefined> {
    if (signal.aborted || this.#state === 'closed') return undefined
    const queries: Query<unknown>[] = []
    const end = () => {
      for (const query of queries) query.destroy()
    }
    const cancel = this.#context.clock.timer(OPERATION_PATIENCE, end)
    signal.addEventListener('abort', end, { once: true })
    try {
      const options: HeldOptions = {
        onquery: (query) => {
          queries.push(query)
        },
      }
      return await run(options)
    } catch (cause) {
      this.#context.log.trace({ cause: String(cause) }, 'a DHT operation failed')
      return undefined
    } finally {
      cancel()
      signal.removeEventListener('abort', end)
      for (const query of queries) after?.(query)
    }
  }

  /**
   * Stores something: by one search in a large network. In a small one all nodes are known, and each is told by
   * itself, so that a node that has died holds nothing up. Resolves when the first has it.
   */
  async #everywhere(
    signal: AbortSignal,
    run: (options: QueryOptions) => Promise<readonly NodeAddress[]>,
  ): Promise<readonly NodeAddress[]> {
    await this.settled(signal)
    const nodes = this.dht.toArray({ limit: REPLICAS })
    const runs =
      nodes.length >= REPLICAS || nodes.length === 0
        ? [this.operate(signal, run)]
        : nodes.map((node) =>
            this.operate(signal, (options) => run({ ...options, nodes: [node], onlyClosestNodes: true })),
          )
    const stored = await Promise.any(
      runs.map(async (running) => (await running) ?? Promise.reject(new Error('not stored'))),
    ).catch(() => undefined)
    signal.throwIfAborted()
    if (!stored)
      throw this.failure ?? new PlexusError('RENDEZVOUS_UNREACHABLE', 'No node of the DHT stored the record.')
    return runs.length === 1 && stored.length > 0 ? stored : nodes
  }

  /** Finds out, while no node answers, why that is, and tries again. */
  async #watch(): Promise<void> {
    const { clock, random, log } = this.#context
    const signal = this.#life.signal
    let pause = FIRST_RETRY
    while (!signal.aborted) {
      if (this.#state === 'connected') {
        pause = FIRST_RETRY
        await this.#change(signal)
        continue
      }
      const waiting = scope(signal)
      await Promise.race([this.#change(waiting.signal), sleep(clock, pause, waiting.signal).catch(() => {})])
      waiting.close()
      if (this.#hasNodes() || signal.aborted) continue
      pause = Math.min(pause * 2, LAST_RETRY)
      const stranger = this.#bootstrap && (await findStranger(this.#bootstrap, { clock, random, signal }))
      if (this.#hasNodes() || signal.aborted) continue
      this.#failure = stranger ? foreign(stranger) : unreachable(this.#bootstrap)
      const state = stranger ? 'foreign' : 'silent'
      if (this.#state !== state) log.warn({ code: this.#failure.code }, `${this.#failure.message} Retrying.`)
      this.#become(state)
      this.dht.refresh()
    }
  }

  #hasNodes(): boolean {
    return this.dht.toArray({ limit: 1 }).length > 0
  }

  #become(state: NetworkState): void {
    if (this.#state === 'closed') return
    const before = this.#state
    this.#state = state
    if (state === 'connected' && before !== 'connected') {
      this.#failure = undefined
      this.#context.log.debug({ nodes: this.dht.toArray().length }, 'in the DHT')
    }
    if (state === before && state === 'connected') return
    for (const listener of [...this.#listeners]) listener(state)
  }

  /** Resolves at the next change of state, or when the signal aborts. */
  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        stop()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const stop = this.onstate(done)
      if (signal.aborted) done()
      else signal.addEventListener('abort', done, { once: true })
    })
  }

  /** Leaves the network, and lets go of its sockets and timers. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#become('closed')
    this.#life.close(closed())
    const late = scope()
    const graceful = this.dht.destroy().catch(() => {})
    await Promise.race([graceful, sleep(this.#context.clock, GOODBYE_PATIENCE, late.signal).catch(() => {})])
    late.close()
    await this.dht.destroy({ force: true })
    await Promise.all([graceful, this.#watching])
  }
}

function closed(): PlexusError {
  return new PlexusError('CANCELLED', 'The rendezvous was closed.')
}
