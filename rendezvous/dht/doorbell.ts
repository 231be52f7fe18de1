import type { KeyPair, NodeAddress, Server } from 'hyperdht'
import type { RendezvousContext } from '../interface.js'
import { scope } from '../scope.js'
import { fetchMessage } from './fetch.js'
import type { DhtNetwork } from './network.js'

/** How long the records of a ring are looked for, in ms: an inviter puts them while it rings. */
const FETCH_PATIENCE = 8000
/** Rings answered at the same time. A further one takes the place of the oldest: honest ones are done in a second. */
const MAX_FETCHES = 48
/** The same for one address that rings claim to come from: what the users of one NAT need at most. */
const MAX_FETCHES_AN_ADDRESS = 12
/** Rings that are remembered, so that an inviter that rings again is not fetched again. */
const MAX_REMEMBERED = 4096
/** How long hyperdht keeps what it knows of a handshake, in ms: no longer than a retransmission is under way. */
const HANDSHAKE_MEMORY = 1000

/**
 * What the inviters of an accepter ring. A ring is the handshake of a HyperDHT connection: every one is rejected,
 * without an answer, but its key says under which key the inviter has stored its message. The handshake comes over
 * nodes of the DHT, so it gets through any NAT, and at once.
 */
export class Doorbell {
  readonly server: Server
  readonly #network: DhtNetwork
  readonly #context: RendezvousContext
  readonly #deliver: (message: Buffer) => void
  /** The rings being answered, oldest first, by the key of the inviter in hex. */
  readonly #fetches = new Map<string, { readonly address: string; readonly end: () => void }>()
  /** The rings that were answered, oldest first. */
  readonly #answered = new Set<string>()

  constructor(network: DhtNetwork, context: RendezvousContext, deliver: (message: Buffer) => void) {
    this.#network = network
    this.#context = context
    this.#deliver = deliver
    this.server = network.dht.createServer({
      shareLocalAddress: false,
      holepunch: () => false,
      handshakeClearWait: HANDSHAKE_MEMORY,
      firewall: (sessionKey, _payload, address) => {
        this.#rung(sessionKey, address)
        return true
      },
    })
    // a stream is never accepted, but an error event that nobody hears would end the program
    this.server.on('error', (cause) => context.log.debug({ cause: String(cause) }, 'the DHT server failed'))
  }

  /** Begins to listen, under the key that the accepter announces. */
  async listen(keyPair: KeyPair): Promise<void> {
    await this.server.listen(keyPair)
  }

  /** Has the nodes told anew, and at once, how the doorbell is reached. */
  refresh(): void {
    this.server.refresh()
    this.server._announcer?._sleeper?.resume()
  }

  /** Stops fetching; the server itself is closed together with the network, or by `close`. */
  async close(): Promise<void> {
    for (const { end } of this.#fetches.values()) end()
    await this.server.close().catch(() => {})
  }

  #rung(sessionKey: Buffer, { host: address }: NodeAddress): void {
    const ring = sessionKey.toString('hex')
    const log = this.#context.log.child({ ring: ring.slice(0, 8) })
    if (this.#answered.has(ring) || this.#fetches.has(ring)) return
    const ofAddress = [...this.#fetches.values()].filter((fetch) => fetch.address === address)
    if (ofAddress.length >= MAX_FETCHES_AN_ADDRESS) ofAddress[0]?.end()
    const [oldest] = this.#fetches.values()
    if (oldest && this.#fetches.size >= MAX_FETCHES) oldest.end()
    log.debug({ address }, 'notified in the DHT')
    void this.#answer(sessionKey, ring, address)
  }

  async #answer(sessionKey: Buffer, ring: string, address: string): Promise<void> {
    const limit = scope(this.#network.signal)
    const end = () => {
      this.#fetches.delete(ring)
      limit.close()
    }
    const cancel = this.#context.clock.timer(FETCH_PATIENCE, end)
    this.#fetches.set(ring, { address, end })
    const message = await fetchMessage(this.#network, this.#context.clock, sessionKey, limit.signal)
    cancel()
    end()
    if (!message) {
      this.#context.log.debug({ ring: ring.slice(0, 8) }, 'was notified, but found no message')
      return
    }
    this.#answered.add(ring)
    const [first] = this.#answered
    if (first !== undefined && this.#answered.size > MAX_REMEMBERED) this.#answered.delete(first)
    this.#deliver(message)
  }
}
