import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { parseIdentity } from '../../src/identity/index.js'
import { MAX_INVITES } from '../../src/pairing/accepter.js'
import { encodeMessage } from '../../src/pairing/message.js'
import { Rate } from '../../src/pairing/rate.js'
import { NO_HINT } from '../../src/punch/index.js'
import { seal } from '../../src/sealing/index.js'
import { World } from '../support/world.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const CAROL = 'carol@px.test/phone'

test('what is within bounds is allowed, for each by itself, and again when time has passed', () => {
  let now = 0
  const rate = new Rate({ ...systemClock, now: () => now }, 2, 1000)
  assert.deepEqual([rate.allows('a'), rate.allows('a'), rate.allows('a')], [true, true, false])
  assert.equal(rate.allows('b'), true)
  now = 1000
  assert.equal(rate.allows('a'), true)
})

test('an identity that invites without end is refused, which the log tells, and others are not', async () => {
  const world = await World.create([ALICE, BOB, CAROL])
  try {
    const accepter = await world.accepter(
      BOB,
      {},
      { admit: async () => ({ code: 'BUSY', sentence: 'Not now.' }) },
    )
    await assert.rejects(world.invite(ALICE, BOB), { code: 'BUSY' })
    const mailbox = world.place.posted.find(({ envelope }) => envelope.to.kind === 'identity')?.envelope.to
    assert.ok(mailbox)
    const alice = await world.context(ALICE)
    const bob = await world.context(BOB)
    for (let times = 0; times < MAX_INVITES + 3; times++) {
      const time = systemClock.date()
      const invite = encodeMessage({
        kind: 'invite',
        from: parseIdentity(ALICE),
        to: parseIdentity(BOB),
        app: 'test',
        session: systemRandom(16).toString('hex'),
        time,
        expires: time + 60_000,
        reply: systemRandom(32),
        offer: { key: systemRandom(32), candidates: [], nat: NO_HINT, can: [] },
      })
      world.place.put(mailbox, await seal(invite, alice.host, bob.host.certificate))
    }
    // invites are judged one after the other: when this one was, all before it were
    await assert.rejects(world.invite(CAROL, BOB), { code: 'BUSY', message: /Not now/ })
    assert.equal(accepter.log.count(/alice@px.test\/laptop was refused: Not now/), MAX_INVITES)
    assert.equal(accepter.log.count(/invites of this identity came within a minute/), 4)
  } finally {
    await world.close()
  }
})
