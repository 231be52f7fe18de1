import { type Clock, type Limit, TokenBucket } from '../net/index.js'

/**
 * How much of what peers ask for is begun in one turn of the event loop; of each that waits it is one. To connect to a
 * service takes a quarter of a millisecond, and one datagram can ask for hundreds of connections.
 */
const A_TURN = 4

/**
 * How many connections one peer has begun, over all of its tunnels: as many at once as a tunnel may have, and then fewer
 * than would take every local port towards a service (28,232, for 60 s each).
 */
const OF_A_PEER: Limit = { burst: 4096, rate: 250 }

interface Queue {
  readonly bucket: TokenBucket
  readonly waiting: Set<() => void>
}

/**
 * Work that peers bring about, a little in each turn of the event loop, and in turn for each of them: what comes for
 * everybody else is looked at in between. Where little is asked for it is begun at once.
 */
export class Turns {
  readonly #clock: Clock
  readonly #next: (callback: () => void) => void
  /** By peer; who has had a turn goes to the end. */
  readonly #queues = new Map<string, Queue>()
  #begun = 0
  #state: 'idle' | 'turning' | 'paused' = 'idle'

  /** @param next calls back in the next turn of the loop */
  constructor(clock: Clock, next: (callback: () => void) => void = setImmediate) {
    this.#clock = clock
    this.#next = next
  }

  /** How many peers are remembered, and how much of theirs waits. */
  get held(): { readonly peers: number; readonly waiting: number } {
    const queues = [...this.#queues.values()]
    return { peers: queues.length, waiting: queues.reduce((sum, { waiting }) => sum + waiting.size, 0) }
  }

  /**
   * Begins something for a peer, now or when it is its turn.
   * @returns gives up what waits still
   */
  take(peer: string, begin: () => void): () => void {
    const now = this.#clock.now()
    const queue = this.#queues.get(peer) ?? { bucket: new TokenBucket(OF_A_PEER, now), waiting: new Set() }
    this.#queues.set(peer, queue)
    const { waiting, bucket } = queue
    if (this.#begun < A_TURN && waiting.size === 0 && bucket.take(now)) {
      this.#begun++
      this.#arm()
      begin()
      return () => {}
    }
    waiting.add(begin)
    this.#arm()
    return () => void waiting.delete(begin)
  }

  #arm(): void {
    if (this.#state === 'turning') return
    this.#state = 'turning'
    this.#next(() => this.#turn())
  }

  #turn(): void {
    this.#begun = 0
    this.#state = 'idle'
    const now = this.#clock.now()
    let pause = Number.POSITIVE_INFINITY
    for (const [peer, queue] of [...this.#queues]) {
      const { waiting, bucket } = queue
      const [begin] = waiting
      if (begin === undefined) {
        if (bucket.isFull(now)) this.#queues.delete(peer)
        continue
      }
      if (this.#begun >= A_TURN) break
      if (!bucket.take(now)) {
        pause = Math.min(pause, bucket.wait(now))
        continue
      }
      this.#begun++
      waiting.delete(begin)
      this.#queues.delete(peer)
      this.#queues.set(peer, queue)
      begin()
    }
    if (this.#begun > 0) this.#arm()
    else if (pause < Number.POSITIVE_INFINITY) this.#rest(pause)
  }

  #rest(ms: number): void {
    if (this.#state !== 'idle') return
    this.#state = 'paused'
    this.#clock.timer(Math.ceil(ms), () => {
      if (this.#state === 'paused') this.#arm()
    })
  }
}

const known = new WeakMap<Clock, Turns>()

/** One for each clock, and so for the process, as that has one loop. */
export function turnsOf(clock: Clock): Turns {
  const turns = known.get(clock) ?? new Turns(clock)
  known.set(clock, turns)
  return turns
}
