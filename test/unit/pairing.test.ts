import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/cli/clock.js'
import { PlexusError } from '../../src/errors/index.js'
import { type Clock, sleep } from '../../src/net/index.js'
import type { Passage } from '../../src/pairing/index.js'
import { World } from '../support/world.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const CAROL = 'carol@px.test/phone'

/** The error codes of failures, the passages of successes. */
async function outcomes(attempts: readonly Promise<Passage>[]): Promise<(Passage | string)[]> {
  const settled = await Promise.allSettled(attempts)
  return settled.map((one) =>
    one.status === 'fulfilled'
      ? one.value
      : one.reason instanceof PlexusError
        ? one.reason.code
        : String(one.reason),
  )
}

function shifted(ms: number): Clock {
  return { ...systemClock, date: () => systemClock.date() + ms }
}

function coded(code: string, message?: RegExp) {
  return (error: unknown) =>
    error instanceof PlexusError &&
    error.code === code &&
    (message === undefined || message.test(error.message))
}

describe('a pairing', () => {
  let world: World
  before(async () => {
    world = await World.create([ALICE, BOB, CAROL])
  })
  after(() => world.close())

  test('gives both sides the same passage, seen from either end', async () => {
    const accepter = await world.accepter(BOB)
    const inviting = await world.invite(ALICE, BOB)
    const accepting = await accepter.next()
    assert.equal(inviting.session, accepting.session)
    assert.equal(inviting.keys.secret, accepting.keys.secret)
    assert.ok(inviting.keys.key.equals(accepting.keys.key))
    assert.equal(inviting.inner.port, accepting.faraway.port)
    assert.equal(accepting.inner.port, inviting.faraway.port)
    await accepter.stop()
  })

  test('carries what is sent through it', async () => {
    const accepter = await world.accepter(BOB)
    const inviting = await world.invite(ALICE, BOB)
    const accepting = await accepter.next()
    const heard = new Promise<string>((resolve) => {
      accepting.port.listen(({ data }) => {
        if (data.length < 10) resolve(data.toString())
      })
    })
    inviting.port.send(Buffer.from('through'), inviting.faraway)
    assert.equal(await heard, 'through')
    await accepter.stop()
  })

  test('with two inviters at once gives both a passage', async () => {
    const accepter = await world.accepter(BOB)
    const [one, two] = await Promise.all([world.invite(ALICE, BOB), world.invite(CAROL, BOB)])
    const sessions = [(await accepter.next()).session, (await accepter.next()).session]
    assert.deepEqual(sessions.sort(), [one.session, two.session].sort())
    await accepter.stop()
  })

  test('of an inviter that comes before its accepter waits for it', async () => {
    const inviting = world.invite(ALICE, BOB)
    const accepter = await world.accepter(BOB)
    assert.equal((await inviting).session, (await accepter.next()).session)
    await accepter.stop()
  })

  test('of one identity that invites twice at once is the newer one, and the other is told', async () => {
    const accepter = await world.accepter(BOB)
    const found = await outcomes([world.invite(ALICE, BOB), world.invite(ALICE, BOB)])
    const passages = found.filter((one) => typeof one !== 'string')
    assert.equal(passages.length + found.filter((one) => one === 'PEER_ABORTED').length, 2)
    assert.ok(passages.length >= 1)
    for (const passage of passages) assert.equal((await accepter.next()).session, passage.session)
    await accepter.stop()
  })

  test('of two that invite each other is one, and the lower session stays the inviter', async () => {
    const [one, two] = await Promise.all([world.invite(ALICE, BOB), world.invite(BOB, ALICE)])
    assert.equal(one.session, two.session)
    assert.deepEqual([one.role, two.role].sort(), ['accepter', 'inviter'])
    assert.equal(one.keys.secret, two.keys.secret)
  })

  test('is not led astray by what is left of two that invited each other before', async () => {
    for (let round = 0; round < 3; round++)
      await Promise.all([world.invite(ALICE, BOB), world.invite(BOB, ALICE)])
    const inviting = world.invite(ALICE, BOB)
    // long enough for the inviter to look for glare, and to find what is left of it
    await sleep(systemClock, 2500)
    const accepter = await world.accepter(BOB)
    assert.equal((await inviting).session, (await accepter.next()).session)
    await accepter.stop()
  })

  test('leaves nothing behind, however often it is made', async () => {
    const accepter = await world.accepter(BOB)
    const once = async () => {
      const inviting = await world.invite(ALICE, BOB)
      await Promise.all([inviting.port.close(), (await accepter.next()).port.close()])
    }
    // what a session still sends when it is over goes on for a moment
    const settled = async () => {
      await sleep(systemClock, 1000)
      return process.getActiveResourcesInfo().sort()
    }
    await once()
    const before = await settled()
    for (let time = 0; time < 30; time++) await once()
    assert.deepEqual(await settled(), before)
    await accepter.stop()
  })

  test('needs no STUN server on one host', async () => {
    const accepter = await world.accepter(BOB, { stunServers: ['127.0.0.1:9'] })
    const inviting = await world.invite(ALICE, BOB, { stunServers: [] })
    assert.equal(inviting.kind, 'host')
    assert.equal((await accepter.next()).kind, 'host')
    await accepter.stop()
  })

  test('without an accepter ends with a word about it', async () => {
    await assert.rejects(
      world.invite(CAROL, ALICE, { timeout: 400 }),
      coded('PEER_SILENT', /alice@px\.test\/laptop has not answered/),
    )
  })

  test('for another application is refused with the reason', async () => {
    const accepter = await world.accepter(BOB)
    // the mailbox is the application's own, so the message is carried over by hand, as a careless rendezvous would
    const rendezvous = world.place.rendezvous()
    const careless = {
      ...rendezvous,
      post: (
        envelope: Parameters<typeof rendezvous.post>[0],
        sealed: Uint8Array,
        options: { signal: AbortSignal },
      ) => rendezvous.post({ ...envelope, to: { ...envelope.to, app: 'test' } }, sealed, options),
      receive: (mailbox: Parameters<typeof rendezvous.receive>[0], options: { signal: AbortSignal }) =>
        rendezvous.receive({ ...mailbox, app: 'test' }, options),
    }
    await assert.rejects(
      world.invite(ALICE, BOB, { app: 'other', rendezvous: careless }),
      coded('APPLICATION', /serves 'test', not 'other'/),
    )
    assert.equal(accepter.log.count(/refused \S+: This accepter serves 'test', not 'other'/), 1)
    await accepter.stop()
  })

  test('with a clock that is off by more than 15 minutes is refused with the difference', async () => {
    const accepter = await world.accepter(BOB)
    await assert.rejects(
      world.invite(ALICE, BOB, { clock: shifted(-20 * 60_000) }),
      coded('CLOCK', /20 minutes: yours is behind/),
    )
    await assert.rejects(
      world.invite(ALICE, BOB, { clock: shifted(20 * 60_000) }),
      coded('CLOCK', /20 minutes: yours is ahead/),
    )
    const near = await world.invite(ALICE, BOB, { clock: shifted(-10 * 60_000) })
    assert.equal((await accepter.next()).session, near.session)
    await accepter.stop()
  })

  test('that is refused by policy is told why', async () => {
    const admit = async () => ({ code: 'BUSY', sentence: 'The port is taken.' }) as const
    const accepter = await world.accepter(BOB, {}, { admit })
    await assert.rejects(world.invite(ALICE, BOB), coded('BUSY', /The port is taken/))
    await accepter.stop()
  })

  test('that is cancelled leaves the accepter free for the next', async () => {
    const accepter = await world.accepter(BOB, {}, {})
    const controller = new AbortController()
    const reason = new PlexusError('CANCELLED', 'Stopped by hand.')
    const first = world.invite(ALICE, BOB, {}, controller.signal)
    controller.abort(reason)
    await assert.rejects(first, coded('CANCELLED'))
    const second = await world.invite(ALICE, BOB)
    assert.equal((await accepter.next()).session, second.session)
    await accepter.stop()
  })
})
