import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { parseIdentity } from '../../src/identity/index.js'
import { decodeMessage, encodeMessage, type Invite } from '../../src/pairing/message.js'
import { NO_HINT } from '../../src/punch/index.js'
import { seal, unseal } from '../../src/sealing/index.js'
import type { Posted } from '../support/memory-rendezvous.js'
import { type RunningAccepter, World } from '../support/world.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const STRANGER = 'mallory@px.test/box'

/** What each of these must do: start nothing, stop nothing, and leave the accepter to honest peers. */
describe('an accepter', () => {
  let world: World
  let accepter: RunningAccepter
  let invites: Posted[]

  before(async () => {
    world = await World.create([ALICE, BOB])
    accepter = await world.accepter(BOB)
  })
  after(() => world.close())

  /** An honest pairing goes through, after and in spite of all that was left in the mailbox. */
  async function honest(): Promise<void> {
    const inviting = await world.invite(ALICE, BOB)
    assert.equal((await accepter.next()).session, inviting.session)
    assert.equal(accepter.passages.length, 0, 'nothing else was started')
    invites = world.place.posted.filter(({ envelope }) => envelope.to.kind === 'identity')
  }

  async function leave(sealed: Uint8Array): Promise<void> {
    const [first] = invites
    assert.ok(first)
    world.place.put(first.envelope.to, sealed)
  }

  test('pairs with an identity of its repository', honest)

  test('drops an invite from an identity outside its repository', async () => {
    const elsewhere = join(world.directory, 'elsewhere')
    await world.identity(STRANGER, elsewhere)
    const stranger = await world.context(STRANGER, { path: elsewhere })
    const bob = await world.context(BOB)
    const invite = await freshInvite({ from: parseIdentity(STRANGER) })
    await leave(await seal(encodeMessage(invite), stranger.host, bob.host.certificate))
    await honest()
    assert.equal(accepter.log.count(/mallory@px.test\/box, who is not in the repository/), 1)
  })

  test('drops an invite that a stranger signed in the name of a known identity', async () => {
    const elsewhere = join(world.directory, 'elsewhere')
    await world.identity(ALICE, elsewhere)
    const impostor = await world.context(ALICE, { path: elsewhere })
    const bob = await world.context(BOB)
    await leave(await seal(encodeMessage(await freshInvite({})), impostor.host, bob.host.certificate))
    await honest()
    await accepter.log.until(/"SIGNATURE"/)
  })

  test('drops an invite that is addressed to somebody else', async () => {
    const alice = await world.context(ALICE)
    const bob = await world.context(BOB)
    const invite = await freshInvite({ to: parseIdentity(STRANGER) })
    await leave(await seal(encodeMessage(invite), alice.host, bob.host.certificate))
    await honest()
    assert.equal(accepter.log.count(/"ADDRESSEE"/), 1)
  })

  test('drops an invite that has expired', async () => {
    const alice = await world.context(ALICE)
    const bob = await world.context(BOB)
    const invite = await freshInvite({ expires: systemClock.date() - 1 })
    await leave(await seal(encodeMessage(invite), alice.host, bob.host.certificate))
    await honest()
    assert.equal(accepter.log.count(/The message has expired/), 1)
  })

  test('drops a recorded invite that is played again', async () => {
    const before = accepter.log.count(/"REPLAYED"/)
    for (const { sealed } of invites) await leave(sealed)
    await honest()
    await accepter.log.until(/"REPLAYED"/, before + 1)
  })

  test('drops a recorded invite after a restart too', async () => {
    const recorded = [...invites]
    await accepter.stop()
    accepter = await world.accepter(BOB)
    for (const { sealed } of recorded) await leave(sealed)
    await honest()
    await accepter.log.until(/"REPLAYED"/, recorded.length)
  })

  test('drops what was tampered with, wherever it was', async () => {
    const [first] = invites
    assert.ok(first)
    for (let at = 0; at < first.sealed.length; at += 7) {
      const bent = Buffer.from(first.sealed)
      bent[at] = (bent[at] ?? 0) ^ 0x41
      await leave(bent)
    }
    await leave(Buffer.alloc(0))
    await leave(systemRandom(3000))
    await honest()
  })

  test('drops every field of a message that is not what it should be', async () => {
    const alice = await world.context(ALICE)
    const bob = await world.context(BOB)
    const fields = JSON.parse(encodeMessage(await freshInvite({})).toString()) as Record<string, unknown>
    const wrong: unknown[] = [null, 7, '', 'x'.repeat(5000), [], {}, '../..', 'a/b/c', '\n', -1, 1e300]
    const seen = accepter.log.count(/"MALFORMED"|"ADDRESSEE"|"SENDER_UNKNOWN"|refused|"SIGNATURE"/)
    let count = 0
    for (const name of Object.keys(fields)) {
      for (const value of wrong) {
        const content = Buffer.from(
          JSON.stringify({ ...fields, session: systemRandom(16).toString('hex'), [name]: value }),
        )
        await leave(await seal(content, alice.host, bob.host.certificate))
        count++
      }
    }
    await honest()
    await accepter.log.until(/"MALFORMED"|"ADDRESSEE"|"SENDER_UNKNOWN"|refused|"SIGNATURE"/, seen + count)
  })

  test('is not troubled by identities with hostile names in its repository', async () => {
    const name = 'eve $(touch x) %peerip%'
    const odd = `${name}/;rm -rf ~ `.trimEnd()
    await world.identity(odd)
    const inviting = await world.invite(odd, BOB)
    assert.equal((await accepter.next()).session, inviting.session)
    for (const bad of ['..', 'a\nb', 'a\0b']) {
      const alice = await world.context(ALICE)
      const bob = await world.context(BOB)
      const text = encodeMessage(await freshInvite({}))
        .toString()
        .replace(JSON.stringify(ALICE), JSON.stringify(`${bad}/pin`))
      await leave(await seal(Buffer.from(text), alice.host, bob.host.certificate))
    }
    await honest()
  })

  test('drops a certificate that does not chain to its ca.crt', async () => {
    const other = join(world.directory, 'authority')
    await world.identity('ca@px.test/root', other)
    const folder = join(world.repository, ...BOB.split('/'))
    await mkdir(folder, { recursive: true })
    const { readFile } = await import('node:fs/promises')
    await writeFile(join(folder, 'ca.crt'), await readFile(join(other, 'ca@px.test', 'root', 'cert.crt')))
    const controller = new AbortController()
    const failing = world.invite(ALICE, BOB, { timeout: 600 }, controller.signal)
    await assert.rejects(failing)
    assert.equal(accepter.passages.length, 0)
    await rm(join(folder, 'ca.crt'))
    await honest()
  })

  test('says whose message it was only if it can be known', async () => {
    const bob = await world.context(BOB)
    const [first] = invites
    assert.ok(first)
    const unverified = await unseal(first.sealed, bob.host)
    const message = decodeMessage(unverified.content)
    assert.equal(message.kind, 'invite')
  })

  async function freshInvite(changes: Partial<Invite>): Promise<Invite> {
    const time = systemClock.date()
    return {
      kind: 'invite',
      from: parseIdentity(ALICE),
      to: parseIdentity(BOB),
      app: 'test',
      session: systemRandom(16).toString('hex'),
      time,
      expires: time + 60_000,
      reply: systemRandom(32),
      offer: { key: systemRandom(32), candidates: [], nat: NO_HINT, can: [] },
      ...changes,
    }
  }
})
