import assert from 'node:assert/strict'
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { type ErrorCode, PlexusError } from '../../src/errors/index.js'
import {
  type Certificate,
  finishRollover,
  parseIdentity,
  planImport,
  Repository,
  renewIdentity,
  storeCertificates,
} from '../../src/identity/index.js'
import { World } from '../support/world.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const alice = parseIdentity(ALICE)
const bob = parseIdentity(BOB)
const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const

const coded = (code: ErrorCode) => (error: unknown) => error instanceof PlexusError && error.code === code

let world: World
/** Where bob is at home, and where alice is. */
let home: Repository
let away: Repository
let old: Certificate
let fresh: Certificate

/** A world in which bob has begun a rollover. */
async function begin(): Promise<void> {
  world = await World.create([])
  const paths = [join(world.directory, 'home'), join(world.directory, 'away')] as const
  await world.identity(BOB, paths[0])
  await world.identity(ALICE, paths[1])
  home = await Repository.open(paths[0])
  away = await Repository.open(paths[1])
  await storeCertificates(home, alice, [(await away.host(alice)).certificate], systemRandom)
  await renewIdentity(home, bob, options)
  const host = await home.host(bob)
  assert.ok(host.next)
  old = host.certificate
  fresh = host.next.certificate
}

describe('during a rollover', () => {
  before(begin)
  after(() => world.close())

  for (const [what, known] of [
    ['only the old certificate', () => [old]],
    ['only the new certificate', () => [fresh]],
    ['both certificates', () => [old, fresh]],
  ] as const) {
    test(`an inviter that has ${what} of the accepter reaches it, once`, async () => {
      await storeCertificates(away, bob, known(), systemRandom)
      const accepter = await world.accepter(BOB, { path: home.path })
      const inviting = await world.invite(ALICE, BOB, { path: away.path })
      const accepting = await accepter.next()
      assert.equal(inviting.session, accepting.session)
      assert.ok(inviting.keys.key.equals(accepting.keys.key))
      await accepter.stop()
      assert.deepEqual(accepter.passages, [])
      assert.equal(accepter.log.count(/invited by/), 1)
    })
  }

  test('a message in its two copies, in both mailboxes, begins one session', async () => {
    await storeCertificates(away, bob, [old, fresh], systemRandom)
    const from = world.place.posted.length
    const accepter = await world.accepter(BOB, { path: home.path })
    const inviting = world.invite(ALICE, BOB, { path: away.path })
    await Promise.all([inviting, accepter.next()])
    const session = Buffer.from((await inviting).session, 'hex')
    const invites = world.place.posted
      .slice(from)
      .filter(({ envelope }) => envelope.to.kind === 'identity' && session.equals(envelope.session))
    const mailboxes = new Set(
      invites.map(
        ({ envelope: { to } }) => to.kind === 'identity' && Buffer.from(to.certificate).toString('hex'),
      ),
    )
    assert.deepEqual(
      [...mailboxes].sort(),
      [old, fresh].map(({ fingerprint }) => fingerprint.toString('hex')).sort(),
    )
    await accepter.stop()
    assert.equal(accepter.log.count(/invited by/), 1)
  })

  test('an inviter under rollover is taken by who has the old certificate, and by who has both', async () => {
    for (const known of [[old], [old, fresh]]) {
      await storeCertificates(away, bob, known, systemRandom)
      const accepter = await world.accepter(ALICE, { path: away.path })
      const inviting = await world.invite(BOB, ALICE, { path: home.path })
      assert.equal((await accepter.next()).session, inviting.session)
      await accepter.stop()
    }
  })

  test('a refusal is signed so that the inviter can verify it', async () => {
    await storeCertificates(away, bob, [fresh], systemRandom)
    const admit = async () => ({ code: 'BUSY', sentence: 'No room.' }) as const
    const accepter = await world.accepter(BOB, { path: home.path }, { admit })
    await assert.rejects(world.invite(ALICE, BOB, { path: away.path }), coded('BUSY'))
    await accepter.stop()
  })

  test('two that invite each other meet, although only one knows of the new certificate', async () => {
    await storeCertificates(away, bob, [old, fresh], systemRandom)
    const [one, two] = await Promise.all([
      world.invite(ALICE, BOB, { path: away.path }),
      world.invite(BOB, ALICE, { path: home.path }),
    ])
    assert.equal(one.session, two.session)
  })

  test('a second one cannot begin', async () => {
    await assert.rejects(renewIdentity(home, bob, options), coded('IDENTITY_EXISTS'))
  })
})

describe('after a rollover', () => {
  before(async () => {
    await begin()
    await finishRollover(home, bob)
  })
  after(() => world.close())

  test('the new pair is the only one', async () => {
    const host = await home.host(bob)
    assert.ok(host.certificate.fingerprint.equals(fresh.fingerprint))
    assert.equal(host.next, undefined)
    assert.deepEqual((await readdir(join(home.path, bob.owner, bob.pin))).sort(), ['cert.crt', 'private.key'])
    await assert.rejects(finishRollover(home, bob), coded('IDENTITY_MISSING'))
  })

  test('a peer that has both certificates is reached and reaches, before and after it finishes as well', async () => {
    await storeCertificates(away, bob, [old, fresh], systemRandom)
    for (let round = 0; round < 2; round++) {
      const server = await world.accepter(BOB, { path: home.path })
      const there = await world.invite(ALICE, BOB, { path: away.path })
      assert.equal((await server.next()).session, there.session)
      await server.stop()
      const laptop = await world.accepter(ALICE, { path: away.path })
      const back = await world.invite(BOB, ALICE, { path: home.path })
      assert.equal((await laptop.next()).session, back.session)
      await laptop.stop()
      if (round === 0) await finishRollover(away, bob)
    }
    assert.equal((await away.certificates(bob, { host: alice, date: options.date })).length, 1)
  })

  test('a peer that has only the old certificate is not reached any more, and says why in its log', async () => {
    await storeCertificates(away, bob, [old], systemRandom)
    const laptop = await world.accepter(ALICE, { path: away.path })
    await assert.rejects(world.invite(BOB, ALICE, { path: home.path, timeout: 500 }), coded('PEER_SILENT'))
    await laptop.stop()
    assert.ok(laptop.log.count(/SIGNATURE/) > 0)
  })
})

describe('a rollover on disk', () => {
  before(begin)
  afterEach(async () => {
    await world.close()
    await begin()
  })
  after(() => world.close())

  test('that was interrupted between its two files is finished by the next try', async () => {
    const { nextCertificate, certificate } = home.paths(bob)
    await rename(nextCertificate, certificate)
    await assert.rejects(
      home.host(bob),
      (error) => coded('KEY_INVALID')(error) && /--finish/.test((error as PlexusError).advice),
    )
    await finishRollover(home, bob)
    assert.ok((await home.host(bob)).certificate.fingerprint.equals(fresh.fingerprint))
  })

  test('is not finished with a key that does not belong to the certificate', async () => {
    const { nextPrivateKey, privateKey } = home.paths(bob)
    await writeFile(nextPrivateKey, await readFile(privateKey))
    await assert.rejects(finishRollover(home, bob), coded('KEY_INVALID'))
    assert.ok((await home.host(bob).catch(() => undefined)) === undefined)
    assert.equal(await readFile(home.paths(bob).certificate, 'utf8'), old.pem)
  })

  test('of a peer counts whichever of the two certificates can be read', async () => {
    await storeCertificates(away, bob, [old, fresh], systemRandom)
    const look = async () =>
      (await away.certificates(bob, { host: alice, date: options.date })).map((each) => each.fingerprint)
    assert.deepEqual(await look(), [old.fingerprint, fresh.fingerprint])
    await writeFile(away.paths(bob).nextCertificate, 'spoilt')
    assert.deepEqual(await look(), [old.fingerprint])
    await storeCertificates(away, bob, [old, fresh], systemRandom)
    await writeFile(away.paths(bob).certificate, 'spoilt')
    assert.deepEqual(await look(), [fresh.fingerprint])
    await writeFile(away.paths(bob).nextCertificate, 'spoilt')
    await assert.rejects(look(), coded('CERTIFICATE_INVALID'))
  })
})

test('of what is imported the two newest certificates are kept', async () => {
  await begin()
  const third = (await away.host(alice)).certificate
  const kept = (known: Certificate[], coming: Certificate[]) => planImport(known, coming).certificates
  assert.deepEqual(kept([], [old]), [old])
  assert.deepEqual(kept([old], [fresh]), [old, fresh])
  assert.deepEqual(kept([old, fresh], [third]), [fresh, third])
  assert.deepEqual(kept([old], [fresh, third]), [fresh, third])
  assert.deepEqual(kept([old], [old, fresh]), [old, fresh])
  assert.deepEqual(kept([old, fresh], [fresh]), [old, fresh])
  assert.deepEqual(planImport([old, fresh], [third]).dropped, [old])
  assert.deepEqual(planImport([old, fresh], [old, fresh]).added, [])
  await world.close()
})
