import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_SEARCH_PACKETS, MAX_SEARCH_SOCKETS } from '../../src/punch/index.js'
import type { NatBehaviour } from './nat.js'
import { describe, type Outcome, type Scenario, simulate } from './pairing.js'
import { GUESSES, guess } from './scenarios.js'

/** How many pairings of each kind run here; bench/search.ts runs 10,000. */
const RUNS = 60

const PORT: NatBehaviour = { mapping: 'independent', filtering: 'address and port' }
const RANDOM: NatBehaviour = { mapping: 'address and port', filtering: 'address and port' }

function within(one: Scenario): Outcome {
  const outcome = simulate(one)
  const { inviter, accepter } = outcome.spent
  assert.ok(inviter.packets + accepter.packets <= MAX_SEARCH_PACKETS, describe(one, outcome))
  assert.ok(inviter.sockets + accepter.sockets <= MAX_SEARCH_SOCKETS, describe(one, outcome))
  return outcome
}

function found(one: Scenario): Outcome {
  const outcome = within(one)
  assert.equal(outcome.verdict, 'passage', describe(one, outcome))
  return outcome
}

/** Both ways round. */
const ways = (a: NatBehaviour, b: NatBehaviour) => [
  { inviter: a, accepter: b },
  { inviter: b, accepter: a },
]

for (const [name, pair] of Object.entries(GUESSES)) {
  test(`${name}: a path is found, with at most 3,000 packets and 512 sockets of both sides`, () => {
    for (let n = 0; n < RUNS; n++) found(guess(1, n, pair))
  })
}

test('without hints nothing is searched for, and what needs a search fails on both sides', () => {
  for (const pair of Object.values(GUESSES)) {
    const outcome = simulate({ ...guess(2, 1, pair), hints: false, timeout: 5000 })
    assert.equal(outcome.verdict, 'failure')
    assert.equal(outcome.spent.inviter.packets + outcome.spent.accepter.packets, 0)
  }
})

test('nothing is searched for between two symmetric NATs of which one has random ports', () => {
  for (const other of [RANDOM, { ...RANDOM, step: 1 }]) {
    for (const pair of ways(RANDOM, other)) {
      const outcome = simulate({ ...guess(3, 1, pair), timeout: 5000 })
      assert.equal(outcome.verdict, 'failure')
      assert.equal(outcome.spent.inviter.packets + outcome.spent.accepter.packets, 0)
    }
  }
})

test('a block of ports, as carriers give to each customer, is found quickly, whatever several hits lead to', () => {
  for (let n = 0; n < 40; n++) {
    for (const pair of ways(PORT, { ...RANDOM, block: { from: 40_960, to: 41_983 } })) {
      const one = guess(4, n, pair)
      const { inviter, searchBegan = 0 } = found(one)
      assert.ok(inviter.name === 'passage' && inviter.after + one.lag - searchBegan < 2500)
    }
  }
})

test('a router that makes an entry for what nobody asked for gives the search no other port', () => {
  for (let n = 0; n < 20; n++) {
    for (const pair of ways({ ...PORT, unasked: 'clash' }, RANDOM)) found(guess(5, n, pair))
    for (const pair of ways(PORT, { ...RANDOM, unasked: 'clash' })) found(guess(6, n, pair))
    for (const pair of ways(PORT, { ...RANDOM, unasked: 'clash', step: 1 })) found(guess(7, n, pair))
  }
})

test('a NAT that bans is met by a search when it is known to go by ports: nothing reaches it unasked', () => {
  for (let n = 0; n < 20; n++) {
    for (const pair of ways({ ...PORT, unasked: 'blacklist' }, RANDOM)) {
      found({ ...guess(8, n, pair), knowsFiltering: true })
    }
    // what can be foretold is found before anything else is sent
    for (const pair of ways({ ...PORT, unasked: 'blacklist' }, { ...RANDOM, step: 1 }))
      found(guess(8, n, pair))
  }
})

test('a search at 10% loss ends alike on both sides', () => {
  for (let n = 0; n < 20; n++) {
    for (const pair of Object.values(GUESSES)) {
      const one = guess(9, n, pair)
      const outcome = within({ ...one, weather: { ...one.weather, loss: 0.1 } })
      assert.ok(outcome.verdict === 'passage' || outcome.verdict === 'failure', describe(one, outcome))
    }
  }
})

test('what a symmetric NAT does is told for nothing where the other side lets its packets in', () => {
  const open: NatBehaviour = { mapping: 'independent', filtering: 'address' }
  for (let n = 0; n < 20; n++) {
    for (const pair of ways(open, RANDOM)) {
      const one = { ...guess(10, n, pair), knowsFiltering: true }
      const { spent } = found(one)
      assert.equal(spent.inviter.packets + spent.accepter.packets, 0)
    }
  }
})
