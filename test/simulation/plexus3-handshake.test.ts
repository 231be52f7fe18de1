import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Kind, pair, type Weather } from './plexus3.js'
import { Prng } from './prng.js'

const COUNT = 2000
/** The C++ peer with itself is no claim of ours. */
const PAIRINGS: readonly { readonly inviter: Kind; readonly accepter: Kind }[] = [
  { inviter: 'ours', accepter: 'ours' },
  { inviter: 'ours', accepter: 'c++' },
  { inviter: 'ours', accepter: 'c++ server' },
  { inviter: 'c++', accepter: 'ours' },
]

function failures(kinds: (typeof PAIRINGS)[number], weather: Weather): string[] {
  return Array.from({ length: COUNT }, (_, seed) => {
    const { inviter, accepter } = pair(kinds, weather, new Prng(seed))
    return inviter === 'succeeded' && accepter === 'succeeded' ? '' : `${seed}: ${inviter} and ${accepter}`
  }).filter((failure) => failure !== '')
}

for (const kinds of PAIRINGS) {
  const who = `inviter ${kinds.inviter}, accepter ${kinds.accepter}`
  test(`${who}: without loss both are done within three round trips and the inviter's lingering`, () => {
    const { inviter, accepter, took } = pair(kinds, { loss: 0, delay: 25 }, new Prng(1))
    assert.deepEqual([inviter, accepter], ['succeeded', 'succeeded'])
    // a C++ inviter calls every 1.6 s only, and its first call may meet a NAT that is not open yet
    assert.ok(took <= (kinds.inviter === 'ours' ? 150 + 400 : 1_600 + 150), `${took} ms`)
  })

  // it says its one answer and is gone: when that is lost, nothing that an inviter could do brings it back
  if (kinds.accepter === 'c++ server') continue

  test(`${who}: ${COUNT} of ${COUNT} at 20% loss`, () => {
    assert.deepEqual(failures(kinds, { loss: 0.2, delay: 25 }), [])
  })

  test(`${who}: ${COUNT} of ${COUNT} when the inviter's flag 1 is lost`, () => {
    assert.deepEqual(failures(kinds, { loss: 0.05, delay: 25, lastLost: true }), [])
  })
}

test('an accepter whose inviter never came gives up when the time is up', () => {
  const { accepter } = pair({ inviter: 'c++', accepter: 'ours' }, { loss: 1, delay: 25 }, new Prng(1))
  assert.equal(accepter, 'failed')
})
