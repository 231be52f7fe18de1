import type { KeyPair, NodeAddress } from 'hyperdht'
import { sleep } from '../../src/net/index.js'
import type { RendezvousContext } from '../interface.js'
import { type Scope, scope } from '../scope.js'
import type { Doorbell } from './doorbell.js'
import type { DhtNetwork } from './network.js'
import { announcedDays, commitment, type IdentityMailbox, placeOf } from './place.js'
import { encodePointer } from './pointer.js'
import { Presence } from './presence.js'

/** How often everything is announced anew, in ms. Nodes keep an announcement for 13 to 27 minutes. */
const RENEWAL = 10 * 60_000
/** How often the nodes that hold the pointer are asked for it, in ms: 8 packets of the 200 a minute that are allowed. */
const CHECK = 45_000
/** Nodes asked in a check. */
const CHECKED_NODES = 3
/** How often the bootstrap nodes of a small network are asked, and the clocks compared, in ms. */
const LOOK = 3000
/** The two clocks drift apart by more than this, in ms, only when the machine slept or its time was set. */
const SLEPT = 10_000
/** Pauses before a failed announcement is tried again, in ms; the last one repeats. */
const RETRIES = [500, 1000, 2000] as const

/** Keeps an accepter announced: on the topic, in the pointer, and in the record under its own key. */
export class Announcement {
  readonly #network: DhtNetwork
  readonly #doorbell: Doorbell
  readonly #keyPair: KeyPair
  readonly #mailbox: IdentityMailbox
  readonly #context: RendezvousContext
  readonly #life: Scope
  readonly #running: Promise<void>
  /** Cuts the pause between two rounds short. */
  #pause: Scope | undefined
  /** When the next announcement is due, by the clock; 0 is at once. */
  #due = 0
  /** The nodes that were given the pointer last. */
  #holders: readonly NodeAddress[] = []
  /** When the next search for it is due, by the clock. */
  #nextSearch = 0
  readonly #presence: Presence
  #announced: (() => void) | undefined
  /** Resolves with the first success. Never rejects. */
  readonly first: Promise<void> = new Promise((resolve) => {
    this.#announced = resolve
  })

  constructor(
    network: DhtNetwork,
    doorbell: Doorbell,
    keyPair: KeyPair,
    mailbox: IdentityMailbox,
    context: RendezvousContext,
  ) {
    this.#network = network
    this.#doorbell = doorbell
    this.#keyPair = keyPair
    this.#mailbox = mailbox
    this.#context = context
    this.#life = scope(network.signal)
    this.#presence = new Presence(network, doorbell, keyPair, context, () => this.#again())
    this.#running = this.#run().catch((cause) => {
      context.log.error({ cause: String(cause) }, 'announcing in the DHT stopped')
    })
  }

  /** Stops announcing. What nodes hold expires by itself. */
  async close(): Promise<void> {
    this.#life.close()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#context
    const signal = this.#life.signal
    // nothing can be announced before the network is there, and hyperdht would try again only after 5 minutes
    await this.#network.connected(signal).catch(() => {})
    await this.#network.settled(signal).catch(() => {})
    if (signal.aborted) return
    const onchange = () => this.#again()
    const stop = this.#network.onstate(onchange)
    this.#network.dht.on('network-change', onchange)
    try {
      await this.#doorbell.listen(this.#keyPair)
      let rounds = 0
      let failures = 0
      while (!signal.aborted) {
        await this.#network.connected(signal).catch(() => {})
        if (signal.aborted) return
        if (clock.now() < this.#due && (await this.#present())) {
          await this.#wait(Math.min(LOOK, this.#due - clock.now()))
          continue
        }
        if (rounds++ > 0) this.#doorbell.refresh()
        this.#due = clock.now() + RENEWAL
        this.#nextSearch = clock.now() + CHECK
        if (await this.#announce()) {
          if (failures > 0 || rounds === 1) log.info({}, 'announced in the DHT')
          failures = 0
          this.#announced?.()
          await this.#wait(LOOK)
        } else {
          if (failures === 0 && !signal.aborted) log.warn({}, 'cannot be announced in the DHT, retrying')
          this.#due = 0
          await this.#wait(RETRIES[Math.min(failures, RETRIES.length - 1)] ?? 0)
          failures++
        }
      }
    } finally {
      stop()
      this.#network.dht.off('network-change', onchange)
    }
  }

  /** Has it announced anew, now. */
  #again(): void {
    this.#due = 0
    this.#pause?.close()
  }

  /** Whether inviters can still find the accepter, as far as can be told. */
  async #present(): Promise<boolean> {
    const signal = this.#life.signal
    const { clock } = this.#context
    const [day] = announcedDays(clock.date())
    const { pointer } = placeOf(this.#mailbox, day ?? 0)
    if (await this.#presence.forgotten(pointer.publicKey, signal)) return signal.aborted
    if (clock.now() < this.#nextSearch) return true
    this.#nextSearch = clock.now() + CHECK
    const { value } = await this.#network.get(pointer.publicKey, signal, this.#holders)
    return signal.aborted || value !== undefined
  }

  /** One round. True if an inviter can find the accepter now. */
  async #announce(): Promise<boolean> {
    const signal = this.#life.signal
    const date = this.#context.clock.date()
    const seq = Math.floor(date / 1000)
    const relays = this.#doorbell.server.relayAddresses.slice(0, 3)
    const own = this.#keyPair
    const places = announcedDays(date).map((day) => placeOf(this.#mailbox, day))
    const done = await Promise.allSettled([
      ...places.map(({ topic }) => this.#network.announce(topic, own, relays, signal)),
      ...places.map(async ({ pointer }, i) => {
        const value = encodePointer({ announcer: own.publicKey, relays })
        const holders = await this.#network.put(pointer, value, seq, signal)
        if (i === 0) this.#holders = holders.slice(0, CHECKED_NODES)
      }),
      this.#network.put(own, commitment(this.#mailbox, own.publicKey), seq, signal),
    ])
    const failed = done.find(({ status }) => status === 'rejected')
    if (failed?.status === 'rejected')
      this.#context.log.debug({ cause: String(failed.reason) }, 'not announced')
    return relays.length > 0 && done.slice(0, places.length).every(({ status }) => status === 'fulfilled')
  }

  async #wait(ms: number): Promise<void> {
    const { clock } = this.#context
    const skew = clock.date() - clock.now()
    this.#pause = scope(this.#life.signal)
    await sleep(clock, ms, this.#pause.signal).catch(() => {})
    this.#pause.close()
    // time that was slept through is not counted, but nodes have forgotten meanwhile
    if (Math.abs(clock.date() - clock.now() - skew) > SLEPT) this.#due = 0
  }
}
