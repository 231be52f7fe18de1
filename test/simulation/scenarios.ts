import { NATS, type NatBehaviour } from './nat.js'
import type { Scenario } from './pairing.js'
import { Prng } from './prng.js'

/** A public address and the nine NATs. */
export const PLACES: readonly (NatBehaviour | undefined)[] = [undefined, ...NATS]

/** Every place with every place, in both roles: 100. */
export const PAIRS = PLACES.flatMap((inviter) => PLACES.map((accepter) => ({ inviter, accepter })))

/** Longer than any path that exists needs at 30% loss, so that those that do not are over soon. */
const TIMEOUT = 10_000

/**
 * The `n`th scenario of a series: every pair of places in turn, in a weather of its own.
 * @param loss fixes the loss; without it up to 0.3
 */
export function scenario(series: number, n: number, loss?: number): Scenario {
  const prng = new Prng(series * 1_000_003 + n)
  const pair = PAIRS[n % PAIRS.length] as (typeof PAIRS)[number]
  return {
    seed: prng.next(),
    ...pair,
    weather: {
      loss: loss ?? prng.between(0, 0.3),
      duplication: prng.between(0, 0.1),
      delay: prng.between(1, 100),
      jitter: prng.between(0, 50),
      // one in four so near that a TTL of 7 reaches the peer's NAT
      distance: prng.integer(3, 20),
    },
    // mostly the accepter has started when its answer arrives; here anything goes
    lag: prng.between(-2_000, 5_000),
    hops: 7,
    patience: prng.between(500, 3_000),
    timeout: TIMEOUT,
  }
}

/** The same at 30% loss, with deadlines of each pairing's own that mostly fall into the middle of the handshake. */
export function hurried(series: number, n: number): Scenario {
  const prng = new Prng(series * 2_000_003 + n)
  return {
    ...scenario(series, n, 0.3),
    lag: prng.between(-500, 500),
    patience: prng.between(100, 800),
    timeout: prng.between(150, 2_500),
  }
}

const PORT: NatBehaviour = { mapping: 'independent', filtering: 'address and port' }
const RANDOM: NatBehaviour = { mapping: 'address and port', filtering: 'address and port' }

/** What cannot connect without guessing a port, and can with it. */
export const GUESSES: Readonly<Record<string, Pick<Scenario, 'inviter' | 'accepter'>>> = {
  'port-restricted invites random symmetric': { inviter: PORT, accepter: RANDOM },
  'random symmetric invites port-restricted': { inviter: RANDOM, accepter: PORT },
  'port-restricted invites sequential': { inviter: PORT, accepter: { ...RANDOM, step: 1 } },
  'sequential invites port-restricted': { inviter: { ...RANDOM, step: 2 }, accepter: PORT },
  'sequential invites sequential': { inviter: { ...RANDOM, step: 1 }, accepter: { ...RANDOM, step: -1 } },
}

/** The `n`th of a series in which ports have to be guessed: a home connection, up to 2% loss. */
export function guess(series: number, n: number, pair: Pick<Scenario, 'inviter' | 'accepter'>): Scenario {
  const prng = new Prng(series * 3_000_017 + n)
  return {
    seed: prng.next(),
    ...pair,
    hints: true,
    drift: prng.integer(0, 100),
    weather: {
      loss: prng.between(0, 0.02),
      duplication: 0.01,
      delay: prng.between(5, 60),
      jitter: prng.between(0, 20),
      distance: prng.integer(8, 20),
    },
    lag: prng.between(50, 800),
    hops: 7,
    patience: 1_600,
    timeout: 50_000,
  }
}
