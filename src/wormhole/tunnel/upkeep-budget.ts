import { type Clock, type Limit, TokenBucket } from '../../net/index.js'

/**
 * Renewals and proofs that one peer may bring about over all of its tunnels: an agreement takes 75 µs, a signature of
 * RSA 4096 4 ms of another thread. Whoever asks for more waits. A hundred tunnels want two renewals a minute.
 */
export const UPKEEP_LIMIT: Limit = { burst: 32, rate: 0.1 }

/** From so many on, peers of whom nothing is owed are forgotten whenever another one comes. */
const FEW = 64

const known = new WeakMap<Clock, Map<string, TokenBucket>>()

/** The budget of a peer for all of its tunnels; one for each clock, and so for the process. */
export function upkeepBudgetOf(clock: Clock, peer: string): TokenBucket {
  const now = clock.now()
  const peers = known.get(clock) ?? new Map<string, TokenBucket>()
  known.set(clock, peers)
  const budget = peers.get(peer) ?? new TokenBucket(UPKEEP_LIMIT, now)
  if (peers.size >= FEW) {
    for (const [name, each] of peers) if (each.isFull(now)) peers.delete(name)
  }
  peers.set(peer, budget)
  return budget
}
