import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, cp, readFile, rename, rm, writeFile } from 'node:fs/promises'
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

const ENDED = /the command exited/
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
    await log.until(/carol@px.test\/phone was removed from the repository/)
    await log.until(ENDED)
    assert.equal(log.count(ENDED), 1)
    assert.equal(log.count(/alice@px.test\/laptop was removed/), 0)
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
    assert.equal(log.count(/was removed/), 1)
    assert.equal(log.count(ENDED), 1)
  })

  test('takes up a next key pair, and its own new one, without a restart', async () => {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    await renewIdentity(repository, bob, options)
    await log.until(/your identity was changed: its key is being replaced/)
    await finishRollover(repository, bob)
    await log.until(/your identity was changed: one certificate/)
    const starts = log.count(STARTING)
    await world.invite(ALICE, BOB)
    await log.until(STARTING, starts + 1)
  })

  test('goes on with the key that it has when the new one cannot be used', async () => {
    const { privateKey } = repository.paths(bob)
    const kept = await readFile(privateKey)
    const earlier = log.count(/cannot be reloaded/)
    await writeFile(privateKey, 'spoilt')
    await log.until(/cannot be reloaded/, earlier + 1)
    const starts = log.count(STARTING)
    await world.invite(ALICE, BOB)
    await log.until(STARTING, starts + 1)
    await writeFile(privateKey, kept)
    await chmod(privateKey, 0o600)
  })
})

/** An accepter of bob's with a command, for whose peers somebody is shut out while others go on. */
class Door {
  readonly world: World
  readonly repository: Repository
  /** The clock of the accepter is ahead of the true one by this, in ms. */
  ahead = 0
  readonly #log = new MemoryLog()
  readonly #controller = new AbortController()
  readonly #running: Promise<number>

  constructor(world: World, context: Awaited<ReturnType<World['context']>>) {
    this.world = world
    this.repository = context.repository
    const log = this.#log
    const clock: Clock = { ...systemClock, date: () => systemClock.date() + this.ahead }
    const settings = {
      context: { ...context, log, clock },
      command: parseCommand({ command: '/bin/sleep', args: '1000' }, { env: {}, log }),
      environment: {},
      print: () => {},
      peers: undefined,
      onRepeat: 'parallel' as const,
      seenFile: join(world.directory, 'seen'),
    }
    this.#running = runAccepter(settings, { signal: this.#controller.signal })
  }

  static async open(prepare: (world: World) => Promise<void> = async () => {}): Promise<Door> {
    const world = await World.create([ALICE, BOB, CAROL])
    await prepare(world)
    return new Door(world, await world.context(BOB))
  }

  /** Alice and carol pair; alice is shut out; her command ends, carol's does not, and she is not let in again. */
  async shutOut(how: () => Promise<unknown>, said: RegExp): Promise<void> {
    const { world } = this
    await world.invite(CAROL, BOB)
    await world.invite(ALICE, BOB)
    await this.#log.until(STARTING, 2)
    await how()
    await this.#log.until(said)
    await this.#log.until(ENDED)
    assert.equal(this.#log.count(/; closing its/), 1)
    assert.equal(this.#log.count(ENDED), 1)
  }

  refused(pattern: RegExp): number {
    return this.#log.count(pattern)
  }

  async close(): Promise<void> {
    this.#controller.abort()
    await this.#running
    await this.world.close()
  }
}

describe('a key that was shut out is out', () => {
  const alice = parseIdentity(ALICE)

  test('when its certificate was replaced', async () => {
    const door = await Door.open()
    await door.shutOut(async () => {
      await rm(join(door.world.repository, 'alice@px.test'), { recursive: true })
      await door.world.identity(ALICE)
    }, /alice@px.test\/laptop has another certificate in the repository now; closing its command/)
    await door.close()
  })

  test('when its fingerprint was revoked, though its certificate lies there', async () => {
    const door = await Door.open()
    const { repository, world } = door
    const { certificate } = await repository.host(alice)
    // she has a repository of her own, in which she is not revoked
    const path = join(world.directory, 'hers')
    await cp(world.repository, path, { recursive: true })
    await door.shutOut(
      () => writeFile(repository.revokedPath, `# stolen\n${certificate.x509.fingerprint256} # alice\n`),
      /alice@px.test\/laptop is revoked; closing its command/,
    )
    await assert.rejects(world.invite(ALICE, BOB, { path, timeout: 500 }))
    assert.ok(door.refused(/warn The certificate [0-9A-F:]+ of alice@px.test\/laptop is revoked\./) > 0)
    await door.close()
  })

  test('when it is out of its validity under ca.crt', async () => {
    const door = await Door.open(async ({ directory, repository }) => {
      const names = [
        { name: ALICE, days: 10 },
        { name: CAROL, days: 30 },
      ]
      issueAll(directory, repository, names, BOB)
    })
    await door.shutOut(async () => {
      door.ahead = 20 * DAY
    }, /alice.*expired on .*; closing its command/)
    await door.close()
  })
})

/** Has an authority issue certificates for keys that are there, and `host` trust no others. */
function issueAll(
  directory: string,
  repository: string,
  names: readonly { name: string; days: number }[],
  host: string,
): void {
  const openssl = (...words: string[]) => execFileSync('openssl', words, { cwd: directory, stdio: 'pipe' })
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const ca = join(repository, host, 'ca.crt')
  openssl('req', '-x509', ...ec, '-subj', '/CN=authority', '-keyout', 'ca.key', '-out', ca)
  for (const { name, days } of names) {
    const file = (of: string) => join(repository, name, of)
    openssl('req', '-new', '-key', file('private.key'), '-subj', '/CN=x', '-out', 'request')
    const by = ['-CA', ca, '-CAkey', 'ca.key', '-CAcreateserial', '-CAserial', 'serial']
    openssl('x509', '-req', '-in', 'request', ...by, '-days', String(days), '-out', file('cert.crt'))
  }
}

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
  assert.equal(log.count(/bob@px.test\/server was removed from the repository/), 1)
  await accepter.stop()
  await world.close()
})

test('both sides say in time that a certificate expires, and go on', async () => {
  const world = await World.create([ALICE, BOB])
  const clock: Clock = { ...systemClock, date: () => systemClock.date() + 3641 * DAY }
  const log = new MemoryLog()
  const accepter = await world.accepter(BOB, { clock })
  await Promise.all([world.invite(ALICE, BOB, { clock, log }), accepter.next()])
  assert.equal(log.count(/warn your certificate of alice@px.test\/laptop expires in \d+ days, on 20/), 1)
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
