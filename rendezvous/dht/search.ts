import type { NodeAddress } from 'hyperdht'
import type { Clock } from '../../src/net/index.js'
import { sleep } from '../../src/net/index.js'
import { scope } from '../scope.js'
import type { DhtNetwork } from './network.js'
import { commitment, dayOf, type IdentityMailbox, placeOf } from './place.js'
import { parsePointer, usableRelays } from './pointer.js'

/**
 * How much is known of an announcer. `trusted`: the record that only holders of the certificate write names it, or
 * the record under its own key shows that it knows the certificate. `unknown`: nothing yet. `doubtful`: it could not
 * show it.
 */
export type Standing = 'trusted' | 'unknown' | 'doubtful'

export interface Announcer {
  readonly key: Buffer
  readonly relays: readonly NodeAddress[]
  readonly standing: Standing
}

/** Announcers that are taken at their word, so that in the usual case of one no time goes into checking it. */
const UNCHECKED = 4
/** Announcers remembered: far more than 60 junk ones, and far less than what would hurt. */
const MAX_ANNOUNCERS = 512
/** Checks at the same time. */
const MAX_CHECKS = 16
/** Pauses between two searches while no announcer is found, in ms; the last one repeats: the peer may start later. */
const PAUSES = [100, 150, 250, 400, 600, 800] as const
/** How long a search may take, in ms, at first and at most; a node that has died answers to none. */
const FIRST_PATIENCE = 2000
const LAST_PATIENCE = 8000
/** The first searches look at today alone; later ones at the days beside it too, for clocks that are off. */
const TODAY_ALONE = 2

/**
 * Searches the places of an accepter for announcers until the signal aborts. Each is reported once with what is
 * known of it, and once more when a check told more.
 * A node gives at most 20 of the announcers of a topic, drawn by lot: so the search is repeated, and no number of
 * junk announcers keeps an honest one hidden for long.
 */
export class Search {
  readonly #network: DhtNetwork
  readonly #clock: Clock
  readonly #mailbox: IdentityMailbox
  readonly #signal: AbortSignal
  readonly #found: (announcer: Announcer) => void
  readonly #announcers = new Map<string, Announcer>()
  readonly #unchecked: Announcer[] = []
  #checks = 0

  constructor(
    network: DhtNetwork,
    clock: Clock,
    mailbox: IdentityMailbox,
    signal: AbortSignal,
    found: (announcer: Announcer) => void,
  ) {
    this.#network = network
    this.#clock = clock
    this.#mailbox = mailbox
    this.#signal = signal
    this.#found = found
  }

  /** Searches again and again, ever more slowly. Ends when the signal aborts. */
  async run(): Promise<void> {
    await this.#network.settled(this.#signal).catch(() => {})
    for (let round = 0, idle = 0; !this.#signal.aborted; round++) {
      const before = this.#announcers.size
      const today = dayOf(this.#clock.date())
      const days = round < TODAY_ALONE ? [today] : [today, today - 1, today + 1]
      const limit = scope(this.#signal)
      const cancel = this.#clock.timer(Math.min(FIRST_PATIENCE * 2 ** round, LAST_PATIENCE), () =>
        limit.close(),
      )
      await Promise.all(days.map((day) => this.#look(day, limit.signal)))
      cancel()
      limit.close()
      // as long as there is somebody new each time, there is a crowd, and the right one may not have been drawn yet
      idle = this.#announcers.size > before ? 0 : idle + 1
      const pause = PAUSES[Math.min(idle, PAUSES.length - 1)] ?? 0
      const slower = this.#announcers.size > 0 && idle > 0 ? 4 : 1
      await sleep(this.#clock, pause * slower, this.#signal).catch(() => {})
    }
  }

  async #look(day: number, signal: AbortSignal): Promise<void> {
    const { topic, pointer } = placeOf(this.#mailbox, day)
    await Promise.all([
      this.#network.get(pointer.publicKey, signal).then(({ value }) => {
        const named = value && parsePointer(value)
        if (named) this.#report({ key: named.announcer, relays: named.relays, standing: 'trusted' })
      }),
      this.#network.lookup(topic, signal, (peers) => {
        for (const { publicKey, relayAddresses } of peers) {
          const known = this.#announcers.has(publicKey.toString('hex'))
          if (known || this.#announcers.size >= MAX_ANNOUNCERS) continue
          const announcer: Announcer = {
            key: publicKey,
            relays: usableRelays(relayAddresses),
            standing: 'unknown',
          }
          this.#announcers.set(publicKey.toString('hex'), announcer)
          if (this.#announcers.size <= UNCHECKED) this.#report(announcer)
          else this.#unchecked.push(announcer)
        }
      }),
    ])
    this.#check()
  }

  #report(announcer: Announcer): void {
    const name = announcer.key.toString('hex')
    const before = this.#announcers.get(name)
    this.#announcers.set(name, announcer)
    if (before !== announcer && before?.standing === announcer.standing) return
    if (!this.#signal.aborted) this.#found(announcer)
  }

  /** Asks the announcers that are too many to be taken at their word whether they know the certificate. */
  #check(): void {
    while (this.#checks < MAX_CHECKS && !this.#signal.aborted) {
      const announcer = this.#unchecked.shift()
      if (!announcer) return
      this.#checks++
      void this.#network
        .get(announcer.key, this.#signal)
        .then(({ value }) => {
          const honest = value?.equals(commitment(this.#mailbox, announcer.key)) ?? false
          if (this.#announcers.get(announcer.key.toString('hex'))?.standing === 'trusted') return
          this.#report({ ...announcer, standing: honest ? 'trusted' : 'doubtful' })
        })
        .finally(() => {
          this.#checks--
          this.#check()
        })
    }
  }
}
