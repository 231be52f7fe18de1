import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { asPlexusError, PlexusError } from '../../src/errors/index.js'
import { parseIdentity } from '../../src/identity/index.js'
import type { PairingContext, Passage } from '../../src/pairing/index.js'
import { CAN_KEM, decodeMessage, encodeMessage, type Message } from '../../src/pairing/message.js'
import { NO_HINT } from '../../src/punch/index.js'
import { type Kem, mlKem768, seal, unseal } from '../../src/sealing/index.js'
import { systemRandom } from '../../src/system/index.js'
import { HostilePeer } from '../support/hostile-peer.js'
import { MemoryLog } from '../support/log.js'
import { World } from '../support/world.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const MALLORY = 'mallory@px.test/box'

/** A version of before: it has no ML-KEM-768, sends nothing of it and looks at nothing of it. */
const OLDER = { kem: undefined } as unknown as Partial<PairingContext>

const BOTH = /session keys agreed by X25519 and ML-KEM-768/
const ALONE = /session keys agreed by X25519 alone/

function coded(code: string, message?: RegExp) {
  return (error: unknown) =>
    error instanceof PlexusError &&
    error.code === code &&
    (message === undefined || message.test(error.message))
}

describe('the keys of a pairing', () => {
  let world: World
  before(async () => {
    world = await World.create([ALICE, BOB])
  })
  after(() => world.close())

  /** What was posted, as a side that has all the keys reads it. */
  async function said(): Promise<Message[]> {
    const hosts = await Promise.all([ALICE, BOB].map(async (name) => (await world.context(name)).host))
    const opened = world.place.posted.map(async ({ envelope, sealed }) => {
      const host = hosts.find(({ name }) => envelope.to.identity === `${name.owner}/${name.pin}`)
      assert.ok(host)
      return decodeMessage((await unseal(sealed, host)).content)
    })
    return Promise.all(opened)
  }

  async function pair(
    inviter: Partial<PairingContext>,
    accepter: Partial<PairingContext>,
  ): Promise<{ passages: [Passage, Passage]; logs: [MemoryLog, MemoryLog]; messages: Message[] }> {
    const log = new MemoryLog()
    const running = await world.accepter(BOB, accepter)
    world.place.posted.length = 0
    const inviting = await world.invite(ALICE, BOB, { log, ...inviter })
    const accepting = await running.next()
    await running.stop()
    assert.ok(inviting.keys.key.equals(accepting.keys.key))
    return { passages: [inviting, accepting], logs: [log, running.log], messages: await said() }
  }

  function offers(messages: readonly Message[]) {
    return messages.flatMap((message) =>
      message.kind === 'invite' || message.kind === 'answer' ? [message.offer] : [],
    )
  }

  test('come of X25519 and ML-KEM-768 where both sides have it, and the log says so', async () => {
    const { passages, logs, messages } = await pair({}, {})
    for (const { keys } of passages) assert.equal(keys.agreement, 'hybrid')
    for (const log of logs) assert.equal(log.count(BOTH), 1)
    assert.deepEqual(
      offers(messages).map(({ kem, can }) => [kem?.length, can.includes(CAN_KEM)]),
      [
        [1184, true],
        [1088, true],
      ],
    )
  })

  test('come of X25519 alone with an older inviter, as before', async () => {
    const { passages, logs, messages } = await pair(OLDER, {})
    for (const { keys } of passages) assert.equal(keys.agreement, 'x25519')
    for (const log of logs) assert.equal(log.count(ALONE), 1)
    for (const { kem, can } of offers(messages))
      assert.deepEqual([kem, can.includes(CAN_KEM)], [undefined, false])
  })

  test('come of X25519 alone with an older accepter, as before', async () => {
    const { passages, messages } = await pair({}, OLDER)
    for (const { keys } of passages) assert.equal(keys.agreement, 'x25519')
    assert.deepEqual(
      offers(messages).map(({ kem }) => kem?.length),
      [1184, undefined],
    )
  })

  test('come of X25519 alone, with a warning, where ML-KEM-768 cannot be loaded', async () => {
    const broken = async () => Promise.reject(new Error('Cannot find module'))
    const kem: Kem = { load: broken, pair: broken, encapsulate: broken }
    for (const [inviter, accepter] of [
      [{ kem }, {}],
      [{}, { kem }],
    ]) {
      const { passages, logs } = await pair(inviter ?? {}, accepter ?? {})
      for (const { keys } of passages) assert.equal(keys.agreement, 'x25519')
      const warned = logs.map((log) => log.count(/^warn no post-quantum key exchange: .*Cannot find module/))
      assert.deepEqual(warned.sort(), [0, 1])
    }
  })

  test('come of both where two invite each other', async () => {
    const [one, two] = await Promise.all([world.invite(ALICE, BOB), world.invite(BOB, ALICE)])
    assert.equal(one.session, two.session)
    assert.ok(one.keys.key.equals(two.keys.key))
    assert.deepEqual([one.keys.agreement, two.keys.agreement], ['hybrid', 'hybrid'])
  })

  test('are the same when the invite comes again: it is answered with the same octets', async () => {
    world.place.clear() // of the two that invited each other
    // the first answer is lost
    const rendezvous = world.place.rendezvous()
    let posts = 0
    const losing: typeof rendezvous = {
      ...rendezvous,
      post: async (envelope, sealed, options) => {
        if (++posts > 1) return rendezvous.post(envelope, sealed, options)
        world.place.posted.push({ envelope, sealed })
      },
    }
    const running = await world.accepter(BOB, { rendezvous: losing })
    world.place.posted.length = 0
    const inviting = world.invite(ALICE, BOB)
    const firstOf = async (kind: 'identity' | 'session') => {
      for (;;) {
        const found = world.place.posted.find(({ envelope }) => envelope.to.kind === kind)
        if (found) return found
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const first = await firstOf('session')
    const invite = await firstOf('identity')
    world.place.put(invite.envelope.to, invite.sealed)
    assert.ok((await inviting).keys.key.equals((await running.next()).keys.key))
    const mail = world.place.posted.filter(({ envelope }) => envelope.to.kind === 'session')
    const { host } = await world.context(ALICE)
    const kinds = await Promise.all(
      mail.map(async ({ sealed }) => decodeMessage((await unseal(sealed, host)).content).kind),
    )
    const answers = mail.filter((_, index) => kinds[index] === 'answer')
    assert.equal(answers.length, 2)
    for (const { sealed } of answers) assert.deepEqual(sealed, first.sealed)
    await running.stop()
  })

  test('differ when the ciphertext is not the one that was made, and the pairing fails as one whose datagrams are not heard', async () => {
    const altering: Kem = {
      ...mlKem768,
      async encapsulate(key) {
        const made = await mlKem768.encapsulate(key)
        made.ciphertext[500] = (made.ciphertext[500] ?? 0) ^ 1
        return made
      },
    }
    const running = await world.accepter(BOB, { kem: altering })
    await assert.rejects(
      world.invite(ALICE, BOB, { timeout: 600 }),
      coded('PUNCH_TIMEOUT', /nothing valid was heard from the peer/),
    )
    assert.equal(running.passages.length, 0)
    await running.stop()
  })

  test('are refused for an encapsulation key that is not one, and the inviter is told why', async () => {
    const bad: Kem = {
      ...mlKem768,
      pair: async () => ({ ...(await mlKem768.pair()), publicKey: Buffer.alloc(1184, 0xff) }),
    }
    const running = await world.accepter(BOB)
    const started = world.invite(ALICE, BOB, { kem: bad })
    await assert.rejects(
      started,
      coded('PEER_ABORTED', /gave up: The post-quantum key of the peer is not a valid/),
    )
    assert.equal(running.log.count(/"MALFORMED"/), 1)
    // and another one gets through
    assert.equal((await world.invite(ALICE, BOB)).session, (await running.next()).session)
    await running.stop()
  })

  test('are refused for an answer to a key that was not offered', async () => {
    const running = await world.accepter(BOB, {
      rendezvous: await answering(async (message) => {
        if (message.kind !== 'answer') return message
        const { ciphertext } = await mlKem768.encapsulate((await mlKem768.pair()).publicKey)
        return { ...message, offer: { ...message.offer, kem: ciphertext, can: [CAN_KEM] } }
      }),
    })
    const started = world.invite(ALICE, BOB, OLDER)
    await assert.rejects(started, coded('MALFORMED', /a post-quantum key that it was not offered/))
    await running.stop()
  })

  /** A rendezvous of Bob's on which his messages are changed, and signed with his own key, before they leave. */
  async function answering(change: (message: Message) => Promise<Message>) {
    const rendezvous = world.place.rendezvous()
    const [alice, bob] = await Promise.all([world.context(ALICE), world.context(BOB)])
    const post: typeof rendezvous.post = async (envelope, sealed, options) => {
      const message = await change(decodeMessage((await unseal(sealed, alice.host)).content))
      const changed = await seal(encodeMessage(message), bob.host, alice.host.certificate)
      await rendezvous.post(envelope, changed, options)
    }
    return { ...rendezvous, post }
  }
})

describe('nobody on the way', () => {
  let world: World
  before(async () => {
    world = await World.create([ALICE, BOB])
  })
  after(() => world.close())

  test('can strip the post-quantum part: a stripped invite is not signed, and a stripped answer is not either', async () => {
    // who has both private keys of the envelopes, as a quantum computer may give them, but not those of the signatures
    const elsewhere = join(world.directory, 'elsewhere')
    await world.identity(MALLORY, elsewhere)
    const mallory = await world.context(MALLORY, { path: elsewhere })
    const [alice, bob] = await Promise.all([world.context(ALICE), world.context(BOB)])
    const stripping = (to: typeof alice.host) => {
      const rendezvous = world.place.rendezvous()
      const post: typeof rendezvous.post = async (envelope, sealed, options) => {
        const message = decodeMessage((await unseal(sealed, to)).content)
        if (message.kind !== 'invite' && message.kind !== 'answer') {
          return rendezvous.post(envelope, sealed, options)
        }
        const { kem: _, ...offer } = message.offer
        const stripped = { ...message, offer: { ...offer, can: [] } }
        await rendezvous.post(
          envelope,
          await seal(encodeMessage(stripped), mallory.host, to.certificate),
          options,
        )
      }
      return { ...rendezvous, post }
    }
    const stopped = new PlexusError('CANCELLED', 'Seen enough.')
    const running = await world.accepter(BOB)
    const first = new AbortController()
    const unheard = world.invite(ALICE, BOB, { rendezvous: stripping(bob.host) }, first.signal)
    await running.log.until(/"SIGNATURE"/)
    first.abort(stopped)
    await assert.rejects(unheard, coded('CANCELLED'))
    assert.equal(running.passages.length, 0)
    const log = new MemoryLog()
    const other = await world.accepter(BOB, { rendezvous: stripping(alice.host) })
    const second = new AbortController()
    const unanswered = world.invite(ALICE, BOB, { log }, second.signal)
    await log.until(/"SIGNATURE"/)
    second.abort(stopped)
    await assert.rejects(unanswered, coded('CANCELLED'))
    assert.equal(other.passages.length, 0)
    await other.stop()
  })

  test('can have ML-KEM-768 computed: nothing is before the signature was verified', async () => {
    let computed = 0
    const counting: Kem = {
      ...mlKem768,
      encapsulate: (key) => {
        computed++
        return mlKem768.encapsulate(key)
      },
    }
    const running = await world.accepter(BOB, { kem: counting })
    const elsewhere = join(world.directory, 'impostor')
    await world.identity(ALICE, elsewhere)
    const impostor = await HostilePeer.of(
      world.repository,
      parseIdentity(ALICE),
      parseIdentity(BOB),
      'test',
      elsewhere,
    )
    const kem = Buffer.alloc(1184, 0xff)
    const offer = { key: systemRandom(32), kem, candidates: [], nat: NO_HINT, can: [CAN_KEM] }
    const messages = await Promise.all(Array.from({ length: 5 }, () => impostor.invite({ offer })))
    await impostor.leave(world.place.rendezvous(), messages, new AbortController().signal)
    await running.log.until(/"SIGNATURE"/, 5)
    assert.equal(computed, 0)
    await running.stop()
  })
})

describe('a part of ML-KEM-768 in a message', () => {
  const content = (change: (offer: Record<string, unknown>) => void): Buffer => {
    const message = {
      plexus: 4,
      kind: 'invite',
      from: ALICE,
      to: BOB,
      app: 'test',
      session: 'a0'.repeat(16),
      time: 1,
      expires: 2,
      reply: Buffer.alloc(32).toString('base64'),
      offer: { key: Buffer.alloc(32).toString('base64'), candidates: [], nat: {}, can: [CAN_KEM] },
    }
    change(message.offer)
    return Buffer.from(JSON.stringify(message))
  }
  const verdict = (change: (offer: Record<string, unknown>) => void) => {
    try {
      const message = decodeMessage(content(change))
      assert.ok(message.kind === 'invite')
      return message.offer.kem?.length ?? 'none'
    } catch (thrown) {
      return asPlexusError(thrown).code
    }
  }
  const base64 = (length: number) => Buffer.alloc(length, 1).toString('base64')

  test('has one length and one form, and counts where its word is in `can` alone', () => {
    const whole = (offer: Record<string, unknown>) => void Object.assign(offer, { kem: base64(1184) })
    assert.equal(verdict(whole), 1184)
    assert.equal(
      verdict((offer) => void Object.assign(offer, { kem: base64(1184), can: [] })),
      'none',
    )
    assert.equal(
      verdict((offer) => void Object.assign(offer, { kem: 7, can: ['ml-kem-1024'] })),
      'none',
    )
    const wrong: unknown[] = [undefined, null, 7, '', {}, base64(1183), base64(1185), base64(1088)]
    for (const kem of [...wrong, base64(1184).replace(/=*$/, ''), ` ${base64(1184)}`, '*'.repeat(1580)]) {
      assert.equal(
        verdict((offer) => void Object.assign(offer, { kem })),
        'MALFORMED',
        String(kem).slice(0, 20),
      )
    }
  })
})
