import HyperDHT, { type KeyPair, type NodeAddress, type Reply } from 'hyperdht'
import type { RendezvousContext } from '../interface.js'
import { scope } from '../scope.js'
import type { Doorbell } from './doorbell.js'
import type { DhtNetwork } from './network.js'

/** HyperDHT's command FIND_PEER (hyperdht, lib/constants.js). */
const FIND_PEER = 2
/** The shortest time between two alarms, in ms: a node that never keeps anything must not be told again and again. */
const ALARM_EVERY = 5000
/** Bootstrap nodes that are asked at a time, and how long for, in ms: less than the pause between two looks. */
const MAX_ASKED = 3
const ASK_PATIENCE = 2000

/**
 * Notices when inviters can no longer find the accepter or get through to it: a node has restarted and knows nothing
 * of it any more, or a NAT has given it another address, under which nodes do not reach it yet.
 *
 * HyperDHT pings the nodes of a server every 3 s. In place of that ping each is asked for the server's record, which
 * costs as many packets, and whose reply says what the node holds and from which address it was asked.
 */
export class Presence {
  readonly #network: DhtNetwork
  readonly #doorbell: Doorbell
  readonly #context: RendezvousContext
  readonly #target: Buffer
  readonly #onlost: () => void
  /** Our own address as each node saw it last. */
  readonly #mappings = new Map<string, string>()
  #alarmed = Number.NEGATIVE_INFINITY

  /** @param onlost called when the accepter has to be announced anew */
  constructor(
    network: DhtNetwork,
    doorbell: Doorbell,
    keyPair: KeyPair,
    context: RendezvousContext,
    onlost: () => void,
  ) {
    this.#network = network
    this.#doorbell = doorbell
    this.#context = context
    this.#target = HyperDHT.hash(keyPair.publicKey)
    this.#onlost = onlost
    const { dht } = network
    const ping = dht.ping.bind(dht)
    // another mailbox's nodes are not asked for this one's record
    dht.ping = (node, options) =>
      options === undefined && this.#isRelay(node) ? this.#ask(node) : ping(node, options)
    // who takes itself to be offline stops asking its nodes, and notices late that they answer again
    dht._offline = () => {}
  }

  /**
   * Whether a bootstrap node answers that has lost a record, or never had it, as it was away when it was stored.
   * Those through which the doorbell is reached are not asked: they are watched already.
   * @param pointer a record that every node of a small network holds
   */
  async forgotten(pointer: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const asked = this.#network.smallBootstrap.filter((node) => !this.#isRelay(node)).slice(0, MAX_ASKED)
    const limit = scope(signal)
    const cancel = this.#context.clock.timer(ASK_PATIENCE, () => limit.close())
    const replies = await Promise.all(asked.map((node) => this.#network.get(pointer, limit.signal, [node])))
    cancel()
    limit.close()
    return replies.some(({ value, closest }) => value === undefined && closest.length > 0)
  }

  #isRelay({ host, port }: NodeAddress): boolean {
    return this.#doorbell.server.relayAddresses.some((relay) => relay.host === host && relay.port === port)
  }

  async #ask(node: NodeAddress): Promise<Reply> {
    const request = { command: FIND_PEER, target: this.#target, token: null, value: null }
    const reply = await this.#network.dht.request(request, node)
    const { now } = this.#context.clock
    if (!this.#isRelay(node) || now() - this.#alarmed < ALARM_EVERY) return reply
    const name = `${node.host}:${node.port}`
    const mapping = `${reply.to.host}:${reply.to.port}`
    const before = this.#mappings.get(name)
    this.#mappings.set(name, mapping)
    const moved = before !== undefined && before !== mapping
    if (!moved && reply.value !== null) return reply
    this.#alarmed = now()
    const why = moved ? `has a new public address, ${mapping}` : 'is forgotten'
    this.#context.log.debug({ node: name }, `the accepter ${why}: announcing it again`)
    // at once, as what pinged looks whether to pause when this reply is there
    this.#doorbell.refresh()
    this.#onlost()
    return reply
  }
}
