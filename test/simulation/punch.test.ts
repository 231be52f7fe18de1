import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canConnect, type NatBehaviour, nameOf } from './nat.js'
import { describe, type Outcome, type Scenario, simulate } from './pairing.js'
import { Prng } from './prng.js'
import { hurried, PAIRS, scenario } from './scenarios.js'

/** How many pairings of each series run here; bench/simulation.ts runs 10,000 of both. */
const PAIRINGS = 4_000

/** Ends with the scenario in the message, so that it can be run again by itself. */
function agreed(one: Scenario): Outcome {
  const outcome = simulate(one)
  const fine = outcome.verdict === 'passage' || outcome.verdict === 'failure'
  assert.ok(fine, describe(one, outcome))
  return outcome
}

function passage(one: Scenario): void {
  const outcome = simulate(one)
  assert.equal(outcome.verdict, 'passage', describe(one, outcome))
}

const EIM: NatBehaviour = { mapping: 'independent', filtering: 'independent' }
const RESTRICTED: NatBehaviour = { mapping: 'independent', filtering: 'address' }
const PORT: NatBehaviour = { mapping: 'independent', filtering: 'address and port' }
const SYMMETRIC: NatBehaviour = { mapping: 'address and port', filtering: 'address and port' }

test('every pairing ends in a passage on both sides or in a named failure on both', () => {
  for (let n = 0; n < PAIRINGS; n++) {
    const { inviter, accepter, verdict } = agreed(scenario(1, n))
    if (verdict === 'passage') continue
    for (const ending of [inviter, accepter]) {
      assert.ok(ending.name === 'failure' && /^[A-Z_]+$/.test(ending.failure.reason))
    }
  }
})

test('the sides agree at 30% loss, and every path that exists is found', () => {
  for (let n = 0; n < PAIRINGS; n++) {
    const one = scenario(2, n, 0.3)
    const outcome = agreed(one)
    assert.equal(outcome.verdict, outcome.possible ? 'passage' : 'failure', describe(one, outcome))
  }
})

test('the sides agree although time is up in the middle of the handshake', () => {
  const verdicts = new Set<string>()
  for (let n = 0; n < PAIRINGS; n++) verdicts.add(agreed(hurried(12, n)).verdict)
  assert.deepEqual([...verdicts].sort(), ['failure', 'passage'])
})

test('what can connect by theory connects, and nothing else', () => {
  for (let n = 0; n < 4 * PAIRS.length; n++) {
    const one = scenario(3, n, 0.02)
    const outcome = simulate(one)
    assert.equal(outcome.verdict, outcome.possible ? 'passage' : 'failure', describe(one, outcome))
  }
})

test('the theory is the one of the literature for the four classes of NAT', () => {
  const classes = [EIM, RESTRICTED, PORT, SYMMETRIC]
  const table = classes.map((a) => classes.map((b) => canConnect(a, b)))
  assert.deepEqual(table, [
    [true, true, true, true],
    [true, true, true, true],
    [true, true, true, false],
    [true, true, false, false],
  ])
})

test('the same seed makes the same run', () => {
  const digests = (series: number) =>
    Array.from({ length: 100 }, (_, n) => simulate(scenario(series, n)).digest)
  assert.deepEqual(digests(4), digests(4))
  assert.equal(new Set([...digests(4), ...digests(5)]).size, 200)
})

test('two machines on one LAN find each other there, whatever their NAT', () => {
  for (let n = 0; n < 200; n++) {
    const one = scenario(6, n)
    const outcome = simulate({ ...one, inviter: one.inviter ?? PORT, sameLan: true })
    assert.equal(outcome.verdict, 'passage', describe(one, outcome))
    assert.ok(outcome.inviter.name === 'passage' && outcome.inviter.result.kind === 'host')
  }
})

for (const unasked of ['clash', 'blacklist'] as const) {
  const name = nameOf({ ...PORT, unasked })
  test(`port-restricted pairs with ${name}, both ways round`, () => {
    for (let n = 0; n < 200; n++) {
      const one = scenario(7, n)
      // as in life: the inviter starts when the accepter's answer arrives
      const common = {
        ...one,
        lag: 100 + n,
        patience: 1_500,
        weather: { ...one.weather, distance: 8 + (n % 10) },
      }
      passage({ ...common, inviter: { ...PORT, unasked }, accepter: PORT })
      passage({ ...common, inviter: PORT, accepter: { ...PORT, unasked } })
    }
  })
}

test('without the TTL-limited packets a NAT that blacklists would ban the peer', () => {
  const one = scenario(7, 1)
  const outcome = simulate({
    ...one,
    inviter: { ...PORT, unasked: 'blacklist' },
    accepter: PORT,
    lag: 500,
    hops: 0,
  })
  assert.equal(outcome.verdict, 'failure')
})

test('a machine that stands still for up to 4 s makes no difference to the agreement', () => {
  for (let n = 0; n < 1_000; n++) {
    const one = scenario(8, n)
    const prng = new Prng(n)
    const side = prng.chance(0.5) ? 'inviter' : 'accepter'
    const stall = {
      side,
      at: Math.max(0, one.lag) + prng.between(0, 800),
      length: prng.between(20, 4_000),
    } as const
    agreed({ ...one, stall })
  }
})

test('who sees every datagram and sends copies of them ahead from elsewhere does not become the path', () => {
  for (let n = 0; n < 500; n++) {
    const one = scenario(9, n, 0.05)
    const outcome = agreed({ ...one, weather: { ...one.weather, forgery: 0.4 } })
    assert.equal(outcome.verdict, outcome.possible ? 'passage' : 'failure', describe(one, outcome))
  }
})
