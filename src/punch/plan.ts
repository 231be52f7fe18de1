import { type Endpoint, formatEndpoint } from '../net/index.js'
import { forecast, HIGHEST_PORT, LOWEST_PORT, type PortPattern, rangeOf } from './forecast.js'
import { isOpen, isSymmetric, type Prospect, stableEndpoint, stepOf } from './prospect.js'

/**
 * The strategies as data (docs/strategies.md). A planner maps what is known of both sides and the number of an attempt
 * to that attempt; no two of one plan are the same. All times are in ms.
 */

/** By what a path was found. */
export const STRATEGIES = ['direct', 'prediction', 'search', 'fresh'] as const
export type Strategy = (typeof STRATEGIES)[number]

/** One pass over the sockets of a spread. */
export interface Round {
  /** Since the attempt began. */
  readonly after: number
  /** The TTL of the packets, in hops, the sockets taking turns; 0 is full TTL. */
  readonly hops: readonly number[]
}

/** When an attempt begins, in ms: after the punch does on this side, or after it is expected to on both. */
export type After = { readonly own: number } | { readonly both: number }

export type Attempt =
  /**
   * Checks of every candidate. `opening`: the TTL of the first packets, 0 for full TTL at once. `meek`: for how long
   * nothing goes out at full TTL to an endpoint that nothing was heard from.
   */
  | {
      readonly strategy: 'direct'
      readonly kind: 'direct'
      readonly opening: number
      readonly meek: After
    }
  /** Opens sockets that all aim at one endpoint of the peer. */
  | {
      readonly strategy: Strategy
      readonly kind: 'spread'
      readonly after: After
      readonly sockets: number
      readonly to: Endpoint
      readonly rounds: readonly Round[]
    }
  /** Probes ports of the peer's address from the one stable mapping of this side. */
  | {
      readonly strategy: Strategy
      readonly kind: 'seek'
      readonly after: After
      readonly address: string
      readonly ports: PortPattern
    }

/** What the planner knows. */
export interface Situation {
  readonly own: Prospect
  readonly peer: Prospect
  /** The TTL of opening packets as the user wants it, in hops; 0 for full TTL. */
  readonly hops: number
  /** How many sessions with this peer in this network have failed since one went well. */
  readonly failures: number
  /** Which of the TTLs it was that went well, as a number that failures add to. */
  readonly variant?: number
  /** What went well the last time. */
  readonly worked?: Strategy
}

/**
 * Opening packets have to leave this side's NATs and die before the peer's: hyperdht uses 5, frp 4 and 7. A small one where
 * the peer's NAT is near, a large one where this side's carrier's is far.
 */
export const OTHER_HOPS: readonly number[] = [4, 12]

/** Between two packets of a spread: 256 sockets take half a second, which no home router minds. */
export const SPREAD_PACE = 2
/**
 * Between two probes of a seek. 98% within 12 s wants 1024 probes against 256 sockets (see below), so one in 11.7 ms;
 * HyperDHT takes 20, frp 15.
 */
export const SEEK_PACE = 10.2

/**
 * Sockets of a birthday search: against 256 of 64,512 ports n probes miss with e^(-n/252): 50% hit with 174, 98% with
 * 1024. More in one go would fill the session table of a small NAT.
 */
export const SEARCH_SOCKETS = 256
/** Probes until the second set of sockets is there: 12 s of them. */
const FIRST_PROBES = 1140
/** After it, against 512 sockets: of 1,000 searches one still goes on after 15 s, and 2 in a million find nothing. */
const FURTHER_PROBES = 1060
/** Half of the 30 s that the most forgetful NATs keep a mapping (RFC 4787 section 4.3): the second set comes then too. */
const REFRESH = 12_000

/**
 * A sequential NAT: a run of sockets that lie side by side, and a probe at every eighth port, so that four of them fall
 * into the run, wherever within 640 mappings it begins. Other traffic of the house moves it on between offer and punch.
 * A second window takes the ports between, for what was lost or came too early.
 */
const RUN_SOCKETS = 32
const WINDOW_STRIDE = 8
const WINDOW_PROBES = 80
const WINDOWS = [
  { ahead: 1, after: { own: 300 } },
  { ahead: 1 + WINDOW_STRIDE / 2, after: { both: 500 } },
] as const

/** Once round all ports of a sequential NAT: at least two probes fall into a run of 256 sockets. */
const ROUND_STRIDE = 100
const ROUND_PROBES = 646

/**
 * Both sequential: each side aims a run of sockets at one port of the peer that the peer's run is expected to cover,
 * `ahead` mappings after its sample. It works when both have made fewer mappings meanwhile than that, and not fewer
 * by more than the run is long.
 */
const LOCKSTEP = [
  { sockets: 128, ahead: 100 },
  { sockets: 128, ahead: 350 },
] as const
/** When both sides may have opened their runs: then at full TTL, and again for what was lost or late. */
const LOCKSTEP_ROUNDS = [500, 1100, 2000]
const LOCKSTEP_LENGTH = 2500

/**
 * When each begins, after both sides punch. A direct path takes two round trips, or a second where the accepter must
 * turn to full TTL first. The spread comes before the seek, as a probe that comes too early is lost, and on a Linux
 * router makes an entry that takes the port from the mapping that was to have it. The short run of a prediction is
 * opened as soon as there is a punch at all.
 */
const LOCKSTEP_AFTER = 300
const SEARCH_AFTER = { spread: 1300, seek: 1700 }
const FRESH_AFTER = 4000
const FRESH_SOCKETS = 2

/** After it a search that found nothing is over, in ms. */
const SEARCH_LENGTH = 26_000

/** What a port-restricted NAT does. */
const STRICT = 'address-and-port-dependent'

/** One way to try, and when it fits. */
interface Way {
  readonly fits: (situation: Situation) => boolean
  readonly attempt: (situation: Situation) => Attempt
}

const sequential = ({ nat }: Prospect) => stepOf(nat) !== undefined
const symmetric = ({ nat }: Prospect) => isSymmetric(nat)

/** This side opens sockets, the peer looks for them. */
const spreads = ({ own, peer }: Situation) =>
  symmetric(own) && !symmetric(peer) && own.sockets > 0 && peer.seek && to(peer) !== undefined
/** The other way round. */
const seeks = ({ own, peer }: Situation) =>
  !symmetric(own) && symmetric(peer) && own.seek && peer.sockets > 0 && to(peer) !== undefined
const bothSequential = ({ own, peer }: Situation) =>
  sequential(own) && sequential(peer) && own.sockets > 0 && peer.sockets > 0 && to(peer) !== undefined

const to = ({ candidates }: Prospect) => stableEndpoint(candidates)
const target = (peer: Prospect) => to(peer) ?? { address: '0.0.0.0', port: 0 }

/**
 * Where the direct attempt, or a prediction, is likely to do, it goes first; elsewhere the search is what there is. A side whose mapping is
 * not known yet may turn out to be symmetric too, in a moment: then a search would only use up what is to be foretold.
 */
function searchAfter(situation: Situation): { spread: number; seek: number } {
  const { own, peer, worked } = situation
  const { spread, seek } = SEARCH_AFTER
  const [cone, other] = symmetric(own) ? [peer, own] : [own, peer]
  const { filtering } = cone.nat
  const welcome = isOpen(cone) || filtering === 'address-dependent' || cone.nat.mapping === 'unknown'
  const directFirst =
    welcome || sequential(other) ? worked !== 'search' : worked === 'direct' && filtering === 'unknown'
  return directFirst ? SEARCH_AFTER : { spread: 0, seek: seek - spread }
}

/** Whom the NAT of the side that is not symmetric lets in. */
function coneFiltering({ own, peer }: Situation) {
  return (symmetric(own) ? peer : own).nat.filtering
}

/**
 * A symmetric NAT's packet always comes from another port than the peer sends to. A NAT that goes by ports lets none of
 * them in, and may ban who sends it: so none is sent unasked until the search is over. Where that is not known the
 * search has the time for which it finds nearly everything, unless the last session went well without.
 */
function meekFor(situation: Situation): After {
  if (!spreads(situation) || isOpen(situation.peer)) return { own: 0 }
  const filtering = coneFiltering(situation)
  if (filtering === STRICT) return { both: SEARCH_LENGTH }
  return filtering === 'unknown' && situation.worked !== 'direct' ? { both: REFRESH } : { own: 0 }
}

const spread = (
  { own, peer }: Situation,
  strategy: Strategy,
  more: { after: After; sockets: number; rounds: readonly Round[]; at?: Endpoint },
): Attempt => ({
  strategy,
  kind: 'spread',
  after: more.after,
  sockets: Math.min(more.sockets, own.sockets),
  to: more.at ?? target(peer),
  rounds: more.rounds,
})

const seek = ({ peer }: Situation, strategy: Strategy, after: After, ports: PortPattern): Attempt => ({
  strategy,
  kind: 'seek',
  after,
  address: target(peer).address,
  ports,
})

/** A random pattern has no more probes than ports. */
const random = ({ from, to }: { from: number; to: number }, count: number): PortPattern => ({
  kind: 'random',
  from,
  to,
  count: Math.min(count, to - from + 1),
})

/** Where 256 sockets are looked for first: those of a sequence lie in one run, somewhere. */
function firstPattern({ nat }: Prospect): PortPattern {
  const step = stepOf(nat)
  if (step === undefined) return random(rangeOf(nat.ports), FIRST_PROBES)
  return { kind: 'window', from: forecast(nat, 1), step: step * ROUND_STRIDE, count: ROUND_PROBES }
}

const WAYS: readonly Way[] = [
  {
    fits: () => true,
    attempt: (s) => ({ strategy: 'direct', kind: 'direct', opening: openingOf(s), meek: meekFor(s) }),
  },
  {
    fits: (s) => spreads(s) && sequential(s.own),
    attempt: (s) =>
      spread(s, 'prediction', {
        after: { own: 0 },
        sockets: RUN_SOCKETS,
        rounds: [{ after: 0, hops: [hopsOf(s)] }],
      }),
  },
  ...WINDOWS.map(
    ({ ahead, after }): Way => ({
      fits: (s) => seeks(s) && sequential(s.peer),
      attempt: (s) => {
        const step = (stepOf(s.peer.nat) ?? 1) * WINDOW_STRIDE
        const from = forecast(s.peer.nat, ahead)
        const ports = { kind: 'window', from, step, count: WINDOW_PROBES } as const
        return seek(s, 'prediction', after, ports)
      },
    }),
  ),
  ...LOCKSTEP.map(
    ({ sockets, ahead }, nth): Way => ({
      fits: bothSequential,
      attempt: (s) =>
        spread(s, 'prediction', {
          after: { both: LOCKSTEP_AFTER + nth * LOCKSTEP_LENGTH },
          sockets,
          rounds: [
            { after: 0, hops: [hopsOf(s)] },
            ...LOCKSTEP_ROUNDS.map((after) => ({ after, hops: [0] })),
          ],
          at: { address: target(s.peer).address, port: forecast(s.peer.nat, ahead) },
        }),
    }),
  ),
  {
    fits: spreads,
    attempt: (s) => {
      const hops = [hopsOf(s)]
      return spread(s, 'search', {
        after: { both: searchAfter(s).spread },
        sockets: SEARCH_SOCKETS,
        rounds: [
          { after: 0, hops },
          { after: REFRESH, hops },
        ],
      })
    },
  },
  {
    fits: seeks,
    attempt: (s) => seek(s, 'search', { both: searchAfter(s).seek }, firstPattern(s.peer)),
  },
  {
    // the first sockets may be unlucky as a whole: their packets did not leave a far NAT, or reached a near one
    fits: spreads,
    attempt: (s) =>
      spread(s, 'search', {
        after: { both: searchAfter(s).spread + REFRESH },
        sockets: SEARCH_SOCKETS,
        rounds: [{ after: 0, hops: s.hops === 0 ? [0] : OTHER_HOPS.filter((hops) => hops !== hopsOf(s)) }],
      }),
  },
  {
    fits: seeks,
    attempt: (s) =>
      seek(
        s,
        'search',
        { both: searchAfter(s).seek + Math.ceil(FIRST_PROBES * SEEK_PACE) },
        random({ from: LOWEST_PORT, to: HIGHEST_PORT }, FURTHER_PROBES),
      ),
  },
  {
    // neither is known to be symmetric: the one mapping of this side may be unlucky
    fits: ({ own, peer }) => !symmetric(own) && !symmetric(peer) && own.sockets > 0 && to(peer) !== undefined,
    attempt: (s) =>
      spread(s, 'fresh', {
        after: { both: FRESH_AFTER },
        sockets: FRESH_SOCKETS,
        rounds: [
          { after: 0, hops: [hopsOf(s), ...OTHER_HOPS] },
          ...[500, 1500, 3000].map((after) => ({ after, hops: [0] })),
        ],
      }),
  },
]

/** The attempt of this number, from 0; undefined when there is nothing left to try. */
export function planAttempt(situation: Situation, number: number): Attempt | undefined {
  const way = WAYS.filter(({ fits }) => fits(situation))[number]
  return way?.attempt(situation)
}

/** All attempts, in order. */
export function plan(situation: Situation): Attempt[] {
  return WAYS.filter(({ fits }) => fits(situation)).map(({ attempt }) => attempt(situation))
}

/** The TTL of opening packets: the user's at first, others after sessions that failed. */
function hopsOf({ hops, failures, variant = 0 }: Situation): number {
  if (hops === 0) return 0
  const others = OTHER_HOPS.filter((other) => other !== hops)
  return [hops, ...others][(variant + failures) % (others.length + 1)] ?? hops
}

/** A peer without a NAT that could take offence is best met at full TTL at once; so is any from a symmetric NAT that it lets in. */
function openingOf(situation: Situation): number {
  const { own, peer, failures } = situation
  const welcome = isOpen(peer) || (symmetric(own) && peer.nat.filtering === 'address-dependent')
  return welcome && failures === 0 ? 0 : hopsOf(situation)
}

/** Whether it loads the network so much that only one may go on at a time. */
export function isSearch(attempt: Attempt): boolean {
  return attempt.kind !== 'direct' && attempt.strategy !== 'fresh'
}

/** The address of the peer that it is about. */
export function addressOf(attempt: Exclude<Attempt, { kind: 'direct' }>): string {
  return attempt.kind === 'spread' ? attempt.to.address : attempt.address
}

/** For the log: what begins, and how much of it. */
export function formatAttempt(attempt: Exclude<Attempt, { kind: 'direct' }>): string {
  const what = attempt.strategy === 'fresh' ? 'trying' : 'searching'
  const forbid = isSearch(attempt) ? '; --no-search prevents this' : ''
  if (attempt.kind === 'spread') {
    return `${what} with ${attempt.sockets} new sockets towards ${formatEndpoint(attempt.to)}${forbid}`
  }
  const { address, ports } = attempt
  const rate = Math.round(1000 / SEEK_PACE)
  const last = ports.kind === 'window' ? ports.from + ports.step * (ports.count - 1) : ports.to
  return `${what} on ${ports.count} ports of ${address} from ${ports.from} to ${last}, ${rate} a second${forbid}`
}
