import assert from 'node:assert/strict'
import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { runAccepter, runInviter } from '../../src/daemon/index.js'
import { parseCommand } from '../../src/exec/index.js'
import {
  finishRollover,
  parseIdentity,
  Repository,
  removeIdentity,
  renewIdentity,
} from '../../src/identity/index.js'
import type { Clock } from '../../src/net/index.js'
import { MemoryLog } from '../support/log.js'
import { World } from '../support/world.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const CAROL = 'carol@px.test/phone'
const bob = parseIdentity(BOB)
const DAY = 24 * 3600_000

const ENDED = /the command ended/
const STARTING = /starting \/bin\/sleep/

describe('a running accepter', () => {
  let world: World
  let repository: Repository
  const log = new MemoryLog()
  const controller = new AbortController()
  let running: Promise<number>

  before(async () => {
    world = await World.create([ALICE, BOB, CAROL])
    repository = await Repository.open(world.repository)
    const command = await parseCommand(
      { command: '/bin/sleep', args: '1000', detach: false },
      { env: {}, log },
    )
    const settings = {
      context: await world.context(BOB, { log, repository }),
      command,
      environment: {},
      print: () => {},
      peers: undefined,
      onRepeat: 'replace' as const,
      seenFile: join(world.directory, 'seen'),
    }
    running = runAccepter(settings, { signal: controller.signal })
  })
  after(async () => {
    controller.abort()
    await running
    await world.close()
  })

  test('ends the command of a peer whose directory is removed, and no other', async () => {
    await world.invite(ALICE, BOB)
    await world.invite(CAROL, BOB)
    await log.until(STARTING, 2)
    await removeIdentity(repository, parseIdentity(CAROL))
    await log.until(/carol@px.test\/phone was taken out of the repository/)
    await log.until(ENDED)
    assert.equal(log.count(ENDED), 1)
    assert.equal(log.count(/alice@px.test\/laptop was taken out/), 0)
  })

  test('expels nobody while the whole repository is away', async () => {
    const hidden = `${world.repository}.away`
    const look = repository.has.bind(repository)
    const looked = new Promise<void>((resolve) => {
      // the own directory is asked for only after the peer's was missed
      repository.has = async (name) => {
        const there = await look(name)
        if (!there && name.owner === bob.owner) resolve()
        return there
      }
    })
    await rename(world.repository, hidden)
    await looked
    await rename(hidden, world.repository)
    repository.has = look
    assert.equal(log.count(/was taken out/), 1)
    assert.equal(log.count(ENDED), 1)
  })

  test('takes up a next key pair, and its own new one, without a restart', async () => {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    await renewIdentity(repository, bob, options)
    await log.until(/the own identity has changed: a rollover is under way/)
    await finishRollover(repository, bob)
    await log.until(/the own identity has changed: one certificate/)
    const starts = log.count(STARTING)
    await world.invite(ALICE, BOB)
    await log.until(STARTING, starts + 1)
  })

  test('goes on with the key that it has when the new one cannot be used', async () => {
    const { privateKey } = repository.paths(bob)
    const kept = await readFile(privateKey)
    const earlier = log.count(/cannot be read again/)
    await writeFile(privateKey, 'spoilt')
    await log.until(/cannot be read again/, earlier + 1)
    const starts = log.count(STARTING)
    await world.invite(ALICE, BOB)
    await log.until(STARTING, starts + 1)
    await writeFile(privateKey, kept)
    await chmod(privateKey, 0o600)
  })
})

test('the command of an inviter ends too when the peer is removed', async () => {
  const world = await World.create([ALICE, BOB])
  const accepter = await world.accepter(BOB)
  const log = new MemoryLog()
  const context = await world.context(ALICE, { log })
  const command = await parseCommand({ command: '/bin/sleep', args: '1000', detach: false }, { env: {}, log })
  const settings = { context, command, environment: {}, print: () => {} }
  const running = runInviter(settings, bob, { signal: new AbortController().signal })
  await log.until(STARTING)
  await removeIdentity(context.repository, bob)
  assert.equal(await running, 128 + 15)
  assert.equal(log.count(/bob@px.test\/server was taken out of the repository/), 1)
  await accepter.stop()
  await world.close()
})

test('both sides say in time that a certificate expires, and go on', async () => {
  const world = await World.create([ALICE, BOB])
  const clock: Clock = { ...systemClock, date: () => systemClock.date() + 3641 * DAY }
  const log = new MemoryLog()
  const accepter = await world.accepter(BOB, { clock })
  await Promise.all([world.invite(ALICE, BOB, { clock, log }), accepter.next()])
  assert.equal(log.count(/warn the own certificate of alice@px.test\/laptop expires in \d+ days, on 20/), 1)
  assert.equal(log.count(/warn the certificate of bob@px.test\/server expires in \d+ days, on 20/), 1)
  assert.equal(
    accepter.log.count(/warn the certificate of alice@px.test\/laptop expires in \d+ days, on 20/),
    1,
  )
  await accepter.stop()
  await world.close()
})

test('a peer’s replaced certificate counts for the next message', async () => {
  const world = await World.create([ALICE, BOB])
  const accepter = await world.accepter(BOB)
  const first = world.invite(ALICE, BOB)
  assert.equal((await accepter.next()).session, (await first).session)
  await rm(join(world.repository, 'alice@px.test'), { recursive: true })
  await world.identity(ALICE)
  const second = world.invite(ALICE, BOB)
  assert.equal((await accepter.next()).session, (await second).session)
  await accepter.stop()
  await world.close()
})
