import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseEndpoint } from '../../src/net/index.js'
import { allocationOf, forecast, rangeOf } from '../../src/punch/forecast.js'
import {
  type Attempt,
  type Candidate,
  isSearch,
  type NatHint,
  NO_HINT,
  type Prospect,
  plan,
} from '../../src/punch/index.js'
import { planAttempt, SEARCH_SOCKETS, type Situation } from '../../src/punch/plan.js'

const OUTSIDE: Candidate = { kind: 'reflexive', endpoint: parseEndpoint('203.0.113.5:4000') }

const side = (nat: Partial<NatHint>, more: Partial<Prospect> = {}): Prospect => ({
  nat: { ...NO_HINT, ...nat },
  candidates: [{ kind: 'host', endpoint: parseEndpoint('192.168.1.2:4000') }, OUTSIDE],
  seek: true,
  sockets: 512,
  ...more,
})

const CONE = side({ mapping: 'endpoint-independent' })
const UNKNOWN = side({})
const RANDOM = side({
  mapping: 'address-and-port-dependent',
  allocation: { kind: 'random' },
  ports: [2000, 60_000, 33_000, 14_000],
})
const SEQUENTIAL = side({
  mapping: 'address-dependent',
  allocation: { kind: 'sequential', step: 2 },
  ports: [30_000, 30_002, 30_004, 30_006],
})
const PUBLIC = side(
  { mapping: 'endpoint-independent' },
  {
    candidates: [{ kind: 'host', endpoint: parseEndpoint('203.0.113.9:4000') }],
  },
)
const SIDES = { CONE, UNKNOWN, RANDOM, SEQUENTIAL, PUBLIC }

const situation = (own: Prospect, peer: Prospect, more: Partial<Situation> = {}): Situation => ({
  own,
  peer,
  hops: 7,
  failures: 0,
  ...more,
})

/** An attempt in short. */
const shape = (attempt: Attempt) =>
  attempt.kind === 'direct'
    ? 'direct'
    : attempt.kind === 'spread'
      ? `${attempt.strategy} with ${attempt.sockets}`
      : `${attempt.strategy} on ${attempt.ports.count}`

const shapes = (one: Situation) => plan(one).map(shape)

/** Own side, peer's side, and what is tried in this order. */
const TABLE: readonly (readonly [string, Prospect, Prospect, readonly string[]])[] = [
  ['cone to cone', CONE, CONE, ['direct', 'fresh with 2']],
  ['nothing known', UNKNOWN, UNKNOWN, ['direct', 'fresh with 2']],
  ['cone to random', CONE, RANDOM, ['direct', 'search on 1140', 'search on 1060']],
  ['unknown to random', UNKNOWN, RANDOM, ['direct', 'search on 1140', 'search on 1060']],
  ['random to cone', RANDOM, CONE, ['direct', 'search with 256', 'search with 256']],
  ['random to public', RANDOM, PUBLIC, ['direct', 'search with 256', 'search with 256']],
  [
    'cone to sequential',
    CONE,
    SEQUENTIAL,
    ['direct', 'prediction on 80', 'prediction on 80', 'search on 646', 'search on 1060'],
  ],
  [
    'sequential to cone',
    SEQUENTIAL,
    CONE,
    ['direct', 'prediction with 32', 'search with 256', 'search with 256'],
  ],
  [
    'sequential to sequential',
    SEQUENTIAL,
    SEQUENTIAL,
    ['direct', 'prediction with 128', 'prediction with 128'],
  ],
  ['random to random', RANDOM, RANDOM, ['direct']],
  ['random to sequential', RANDOM, SEQUENTIAL, ['direct']],
  ['to a peer that opens no sockets', CONE, { ...RANDOM, sockets: 0 }, ['direct']],
  ['to a peer that does not seek', RANDOM, { ...CONE, seek: false }, ['direct']],
  ['from a fixed port', { ...RANDOM, sockets: 0 }, CONE, ['direct']],
  [
    'from a fixed port behind a cone',
    { ...CONE, sockets: 0 },
    RANDOM,
    ['direct', 'search on 1140', 'search on 1060'],
  ],
  ['forbidden', { ...CONE, seek: false, sockets: 0 }, RANDOM, ['direct']],
  ['to a peer without a public address', CONE, side(RANDOM.nat, { candidates: [] }), ['direct']],
]

for (const [name, own, peer, expected] of TABLE) {
  test(`${name}: ${expected.join(', ')}`, () => assert.deepEqual(shapes(situation(own, peer)), expected))
}

test('no two attempts of a plan are the same, and the number of an attempt leads to it', () => {
  for (const own of Object.values(SIDES)) {
    for (const peer of Object.values(SIDES)) {
      const one = situation(own, peer)
      const attempts = plan(one)
      assert.equal(new Set(attempts.map((attempt) => JSON.stringify(attempt))).size, attempts.length)
      assert.deepEqual(
        attempts,
        attempts.map((_, number) => planAttempt(one, number)),
      )
      assert.equal(planAttempt(one, attempts.length), undefined)
    }
  }
})

/** Packets of an attempt. */
const packets = (attempt: Attempt) =>
  attempt.kind === 'direct'
    ? 0
    : attempt.kind === 'seek'
      ? attempt.ports.count
      : attempt.sockets * attempt.rounds.length

test('the plans of both sides together stay within 3,000 packets and 512 sockets', () => {
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
  for (const own of Object.values(SIDES)) {
    for (const peer of Object.values(SIDES)) {
      const searches = [situation(own, peer), situation(peer, own)]
        .flatMap((one) => plan(one))
        // what a search finds in a window of a sequence it does not look for any more
        .filter((attempt) => isSearch(attempt) && !(attempt.strategy === 'prediction' && own !== peer))
      assert.ok(sum(searches.map(packets)) <= 3000)
      assert.ok(sum(searches.map((one) => (one.kind === 'spread' ? one.sockets : 0))) <= 2 * SEARCH_SOCKETS)
    }
  }
})

test('sessions that failed make for other TTLs, and one that went well by a search begins with it', () => {
  const opening = (failures: number, variant = 0) => {
    const [direct] = plan(situation(CONE, CONE, { failures, variant }))
    return direct?.kind === 'direct' ? direct.opening : undefined
  }
  assert.deepEqual(
    [0, 1, 2, 3].map((failures) => opening(failures)),
    [7, 4, 12, 7],
  )
  assert.deepEqual([opening(0, 1), opening(1, 1), opening(2, 1)], [4, 12, 7])
  const begins = (peer: Prospect, worked?: 'search' | 'direct') => {
    const search = plan(situation(RANDOM, peer, worked ? { worked } : {})).find(isSearch)
    return search && search.kind !== 'direct' && 'both' in search.after ? search.after.both : undefined
  }
  const polite = side({ mapping: 'endpoint-independent', filtering: 'address-dependent' })
  assert.deepEqual([begins(CONE), begins(CONE, 'search'), begins(CONE, 'direct')], [0, 0, 1300])
  assert.deepEqual([begins(polite), begins(polite, 'search'), begins(polite, 'direct')], [1300, 0, 1300])
  assert.deepEqual([begins(PUBLIC), begins(PUBLIC, 'search')], [1300, 0])
})

test('a peer without a NAT is met at full TTL at once, and one that goes by ports never before the search is over', () => {
  const direct = (own: Prospect, peer: Prospect, failures = 0) => {
    const [first] = plan(situation(own, peer, { failures }))
    return first?.kind === 'direct' ? { opening: first.opening, meek: first.meek } : undefined
  }
  const filtering = (what: NatHint['filtering']) => side({ mapping: 'endpoint-independent', filtering: what })
  assert.deepEqual(direct(RANDOM, PUBLIC), { opening: 0, meek: { own: 0 } })
  assert.deepEqual(direct(CONE, filtering('endpoint-independent')), { opening: 0, meek: { own: 0 } })
  assert.deepEqual(direct(RANDOM, filtering('address-dependent')), { opening: 0, meek: { own: 0 } })
  assert.deepEqual(direct(CONE, filtering('address-dependent')), { opening: 7, meek: { own: 0 } })
  assert.deepEqual(direct(RANDOM, filtering('address-and-port-dependent')), {
    opening: 7,
    meek: { both: 26_000 },
  })
  assert.deepEqual(direct(RANDOM, CONE), { opening: 7, meek: { both: 12_000 } })
  assert.deepEqual(direct(RANDOM, { ...CONE, seek: false }), { opening: 7, meek: { own: 0 } })
})

test('ports in a row are a sequence with its step, whatever others open in between', () => {
  const cases: [number[], ReturnType<typeof allocationOf>][] = [
    [[5000, 5001, 5002, 5003], { kind: 'sequential', step: 1 }],
    [[5000, 5002, 5008, 5010, 5012], { kind: 'sequential', step: 2 }],
    [[5004, 5003, 5001, 5000], { kind: 'sequential', step: -1 }],
    // two that overtook each other, and the end of the range
    [[5000, 5002, 5001, 5003, 5004], { kind: 'sequential', step: 1 }],
    [[65_534, 65_535, 1024, 1025, 1026], { kind: 'sequential', step: 1 }],
    // many that overtook each other
    [[5002, 5000, 5001, 5005, 5003, 5004], { kind: 'sequential', step: 1 }],
    [[5004, 5005, 5003, 5001, 5002, 5000], { kind: 'sequential', step: -1 }],
    [[5000, 5000, 5000, 5000], { kind: 'random' }],
    [[61_000, 1200, 44_000, 5100], { kind: 'random' }],
    // a carrier's block of 512
    [[40_100, 40_480, 40_010, 40_300, 40_222, 40_511, 40_001, 40_333], { kind: 'random' }],
    [[5000, 5001, 5002], { kind: 'unknown' }],
    [[], { kind: 'unknown' }],
  ]
  for (const [ports, expected] of cases) assert.deepEqual(allocationOf(ports), expected, ports.join())
})

test('a forecast goes on from the last sample, in the direction of the steps and round the end of the range', () => {
  assert.equal(forecast(SEQUENTIAL.nat, 1), 30_008)
  assert.equal(forecast(SEQUENTIAL.nat, 100), 30_206)
  const down = { ...SEQUENTIAL.nat, allocation: { kind: 'sequential', step: -1 } } as const
  assert.equal(forecast(down, 10), 29_990)
  assert.equal(forecast({ ...SEQUENTIAL.nat, ports: [65_530] }, 5), 1028)
})

test('the range of random ports is that of the sample and two usual gaps more', () => {
  assert.deepEqual(rangeOf([]), { from: 1024, to: 65_535 })
  assert.deepEqual(rangeOf([2000, 60_000, 33_000, 14_000]), { from: 1024, to: 65_535 })
  const block = rangeOf([40_100, 40_480, 40_010, 40_300, 40_222, 40_511, 40_001, 40_333])
  assert.ok(block.from > 39_800 && block.from <= 40_000 && block.to >= 40_512 && block.to < 40_700)
})
