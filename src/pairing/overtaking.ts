import type { Update } from './message.js'

/** How many sessions of one identity are kept in mind: over a DHT one message may overtake another by a second. */
const MAX_OF_A_PEER = 8

/** How many of all: the oldest give way. */
const MAX_IN_ALL = 256

/** What was said in a session whose invite had not come yet: the latest update, or that nothing is to come of it. */
export type Said = { readonly is: 'updated'; readonly news: Update } | { readonly is: 'withdrawn' }

interface Entry {
  readonly peer: string
  readonly session: string
  said: Said
}

/** Messages that overtook the invites that they belong to. */
export class Overtaking {
  /** The oldest first. */
  #entries: Entry[] = []

  /** How many sessions are kept in mind. */
  get size(): number {
    return this.#entries.length
  }

  /** Keeps in mind what a peer has said in a session that is not known yet. What was withdrawn stays so. */
  note(peer: string, session: string, said: Said): void {
    const known = this.#entries.find((entry) => entry.peer === peer && entry.session === session)
    if (known) {
      if (known.said.is !== 'withdrawn') known.said = said
      return
    }
    const own = this.#entries.filter((entry) => entry.peer === peer)
    const oldest =
      own.length >= MAX_OF_A_PEER ? own[0] : this.#entries.length >= MAX_IN_ALL ? this.#entries[0] : undefined
    if (oldest) this.#entries = this.#entries.filter((entry) => entry !== oldest)
    this.#entries.push({ peer, session, said })
  }

  /** Whether the peer has said that nothing is to come of this session. */
  withdrawn(peer: string, session: string): boolean {
    return this.#entries.some(
      (entry) => entry.peer === peer && entry.session === session && entry.said.is === 'withdrawn',
    )
  }

  /** What the peer has said in this session, if anything; it is forgotten here. */
  take(peer: string, session: string): Said | undefined {
    const found = this.#entries.find((entry) => entry.peer === peer && entry.session === session)
    if (found) this.#entries = this.#entries.filter((entry) => entry !== found)
    return found?.said
  }
}
