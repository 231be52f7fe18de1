import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { parseIdentity } from '../../src/identity/index.js'
import { discard, ROOM } from '../../src/pairing/index.js'
import { type Candidate, NO_HINT } from '../../src/punch/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { HostilePeer, several } from '../support/hostile-peer.js'
import { type RunningAccepter, World } from '../support/world.js'

const MALLORY = 'mallory@px.test/laptop'
const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

/** Somewhere that nobody answers. */
const NOWHERE: Candidate = { kind: 'host', endpoint: { address: '127.0.0.1', port: 9 } }

const NO = { code: 'BUSY', sentence: 'Not now.' } as const

/** What one authentic peer does to the others of an accepter that takes several tunnels of an identity. */
describe('an authentic peer that turns hostile', () => {
  let world: World
  let mallory: HostilePeer
  let accepter: RunningAccepter

  const warned: string[] = []
  const onwarning = (warning: Error) => void warned.push(`${warning.name}: ${warning.message}`)

  before(async () => {
    process.on('warning', onwarning)
    world = await World.create([ALICE, BOB, MALLORY])
    mallory = await HostilePeer.of(world.repository, parseIdentity(MALLORY), parseIdentity(BOB), 'test')
  })
  after(async () => {
    await world.close()
    process.off('warning', onwarning)
    assert.deepEqual(warned, [])
  })
  afterEach(() => accepter.stop())

  async function serve(options: Parameters<World['accepter']>[2] = {}): Promise<void> {
    world.place.clear()
    accepter = await world.accepter(BOB, { timeout: 60_000 }, { supersede: false, ...options })
  }

  function leave(messages: readonly Buffer[]): void {
    for (const sealed of messages) world.place.put(mallory.mailbox, sealed)
  }

  /** What others see of it: they pair. @returns how long that took, in ms */
  async function honest(): Promise<number> {
    const started = systemClock.now()
    const passage = await world.invite(ALICE, BOB)
    assert.equal((await accepter.next()).session, passage.session)
    return systemClock.now() - started
  }

  test('cannot hold every place with invites that it does not follow up', async () => {
    await serve()
    leave(await silent(40))
    await honest()
    assert.equal(accepter.log.count(/invited by mallory/), 3)
  })

  test('cannot hold the one port that an accepter has', async () => {
    await serve({ room: () => ({ ...ROOM, all: 1 }) })
    for (let time = 0; time < 3; time++) {
      const session = systemRandom(16).toString('hex')
      leave([await mallory.invite({ session, offer: nowhere() }), await mallory.abort(session)])
      await accepter.log.until(/the pairing failed/, time + 1)
    }
    leave(await silent(1))
    await accepter.log.until(/invited by mallory/, 4)
    await honest()
  })

  test('fills neither the log nor what is remembered with 1,500 invites', async () => {
    await serve()
    const before = seen()
    leave(await silent(1500))
    await honest()
    await accepter.log.until(/mallory.* sends too much/, 300)
    assert.ok(seen() - before <= 130, `${seen() - before} sessions are remembered`)
    assert.ok(warnings() <= 20, `${warnings()} warnings`)
  })

  test('fills neither with invites that are refused, or whose clock is off', async () => {
    await serve({ admit: async (peer) => (peer.owner.startsWith('mallory') ? NO : undefined) })
    const [before, posted] = [seen(), world.place.posted.length]
    leave(await silent(100))
    leave(await several(100, () => mallory.invite({ time: 1, expires: 2 })))
    leave(await several(100, () => mallory.invite({ app: 'other' })))
    leave(await several(200, () => mallory.say({ kind: 'refusal', code: 'BUSY', sentence: 'No.' })))
    await honest()
    await accepter.log.until(/mallory.* sends too much/, 200)
    assert.ok(seen() - before <= 102, `${seen() - before} sessions are remembered`)
    assert.ok(warnings() <= 20, `${warnings()} warnings`)
    const told = world.place.posted.slice(posted).filter(({ envelope }) => envelope.from === BOB).length
    assert.ok(told <= 6 + 2, `${told} messages of the accepter`)
  })

  test('fills neither with 1,500 aborts and updates of sessions that nobody knows', async () => {
    await serve()
    const before = seen()
    leave(await several(1500, () => mallory.abort()))
    leave(await several(300, () => mallory.say({ kind: 'update', candidates: [NOWHERE], nat: NO_HINT })))
    await honest()
    await accepter.log.until(/mallory.* sends too much/, 200)
    assert.ok(seen() - before <= 2, `${seen() - before} sessions are remembered`)
    assert.ok(warnings() <= 1, `${warnings()} warnings`)
  })

  test('holds up nobody while the accepter makes up its mind about it', async () => {
    let decide = () => {}
    const never = new Promise<undefined>((resolve) => {
      decide = () => resolve(undefined)
    })
    await serve({ admit: (peer) => (peer.owner.startsWith('mallory') ? never : Promise.resolve(undefined)) })
    leave(await silent(5))
    await honest()
    decide()
  })

  test('cannot take the places of pairings by pings', async () => {
    await serve({ onPing: (passage) => void discard(passage) })
    leave(await several(40, () => mallory.invite({ purpose: 'ping', offer: nowhere() })))
    await honest()
    assert.equal(accepter.log.count(/pinged by mallory/), 3)
  })

  test('an abort that overtakes its invite still ends it', async () => {
    await serve()
    const session = systemRandom(16).toString('hex')
    leave([await mallory.abort(session), await mallory.invite({ session, offer: nowhere() })])
    await honest()
    assert.equal(accepter.log.count(/invited by mallory/), 0)
  })

  test('tunnels of one honest identity that begin at once all come to stand', async () => {
    await serve()
    const passages = await Promise.all(Array.from({ length: 8 }, () => world.invite(ALICE, BOB)))
    assert.equal(new Set(passages.map(({ session }) => session)).size, 8)
    await accepter.stop()
  })

  test('a crowd of honest identities is served in turn, and none is sent away', async () => {
    const crowd = Array.from({ length: 24 }, (_, index) => `guest${index}@px.test/laptop`)
    for (const guest of crowd) await world.identity(guest)
    await serve()
    leave(await silent(1))
    const passages = await Promise.all(crowd.map((guest) => world.invite(guest, BOB)))
    assert.equal(passages.length, crowd.length)
  })

  test('is dropped unread once it sends too much, which nobody else can say in its name', async () => {
    const elsewhere = join(world.directory, 'elsewhere')
    await world.identity(MALLORY, elsewhere)
    const [name, to] = [parseIdentity(MALLORY), parseIdentity(BOB)]
    const forger = await HostilePeer.of(world.repository, name, to, 'test', elsewhere)
    const forged = () => accepter.log.count(/SIGNATURE/)
    await serve()
    leave(await several(300, () => forger.abort()))
    await honest()
    await accepter.log.until(/SIGNATURE/, 300)
    assert.equal(accepter.log.count(/sends too much/), 0)
    leave(await several(260, () => mallory.abort()))
    await accepter.log.until(/mallory.* sends too much/)
    const before = forged()
    leave(await several(200, (index) => (index % 2 === 0 ? mallory : forger).abort()))
    await honest()
    await accepter.log.until(/mallory.* sends too much/, 150)
    assert.ok(forged() - before <= 20, `${forged() - before} of 100 were verified`)
  })

  const nowhere = () => ({ key: systemRandom(32), candidates: [NOWHERE], nat: NO_HINT, can: [] })

  const silent = (count: number) => several(count, () => mallory.invite({ offer: nowhere() }))

  const warnings = () => accepter.log.count(/^warn/)

  /** Lines of what is remembered. */
  const seen = () =>
    readFileSync(join(world.directory, `seen-${BOB.replace('/', '_')}`), 'latin1').split('\n').length
})
