import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemRandom } from '../../src/cli/clock.js'
import { EchoCipher } from '../../src/daemon/echo.js'
import { type AccepterSettings, runAccepter, runInviter, runPing } from '../../src/daemon/index.js'
import { PlexusError } from '../../src/errors/index.js'
import { parseCommand } from '../../src/exec/index.js'
import { parseIdentity } from '../../src/identity/index.js'
import { UdpPort } from '../../src/net/index.js'
import { invite } from '../../src/pairing/index.js'
import { deriveKeys, ephemeral } from '../../src/sealing/index.js'
import type { PairingEvent } from '../../src/watch/index.js'
import { MemoryLog } from '../support/log.js'
import { World } from '../support/world.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

/** A log that can be waited at. */
class WatchedLog extends MemoryLog {
  readonly #waiting: Set<() => void>

  constructor(lines: string[] = [], fields: object = {}, waiting = new Set<() => void>()) {
    super(lines, fields)
    this.#waiting = waiting
  }

  override info(fields: object, message: string): void {
    super.info(fields, message)
    for (const look of this.#waiting) look()
  }
  override warn(fields: object, message: string): void {
    super.warn(fields, message)
    for (const look of this.#waiting) look()
  }
  override child(fields: object): WatchedLog {
    return new WatchedLog(this.lines, { ...this.fields, ...fields }, this.#waiting)
  }

  /** Resolves once as many lines match. */
  said(pattern: RegExp, times = 1): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.count(pattern) < times) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }
}

interface Running {
  readonly log: WatchedLog
  readonly printed: string[]
  stop(): Promise<void>
}

describe('a ping', () => {
  let world: World
  before(async () => {
    world = await World.create([ALICE, BOB])
  })
  after(() => world.close())

  async function accepter(
    changes: Parameters<World['context']>[1] = {},
    settings: Partial<AccepterSettings> = {},
  ): Promise<Running> {
    const log = new WatchedLog()
    const printed: string[] = []
    const controller = new AbortController()
    const running = runAccepter(
      {
        context: await world.context(BOB, { log, ...changes }),
        command: undefined,
        environment: process.env,
        print: (lines) => printed.push(lines),
        peers: undefined,
        onRepeat: 'replace',
        seenFile: join(world.directory, 'seen'),
        ...settings,
      },
      { signal: controller.signal },
    )
    const stop = async () => {
      controller.abort()
      await running
    }
    return { log, printed, stop }
  }

  async function ping(log = new MemoryLog(), count = 3, where = world) {
    const events: PairingEvent[] = []
    const signal = new AbortController().signal
    const context = await where.context(ALICE, { log })
    const report = await runPing(context, parseIdentity(BOB), {
      signal,
      count,
      tell: (one) => events.push(one),
    })
    return { report, events }
  }

  /** Runs an inviter until its command is ended. */
  async function inviter(log: WatchedLog, args = '60') {
    const controller = new AbortController()
    const context = await world.context(ALICE, { log })
    const command = parseCommand({ command: '/bin/sleep', args }, { env: process.env, log })
    const settings = { context, command, environment: process.env, print: () => {} }
    const ended = runInviter(settings, parseIdentity(BOB), { signal: controller.signal })
    return {
      ended,
      stop: async () => {
        controller.abort(new PlexusError('CANCELLED', 'The test ends it.'))
        await ended.catch(() => {})
      },
    }
  }

  const sleeping = (more: object = {}) =>
    parseCommand({ command: '/bin/sleep', args: '60', ...more }, { env: process.env, log: new MemoryLog() })

  test('measures the path, and starts and prints nothing on the other side', async () => {
    const bob = await accepter()
    const { report, events } = await ping()
    assert.deepEqual([...report.replies.keys()].sort(), [1, 2, 3])
    assert.equal(report.sent, 3)
    await bob.log.said(/ping over: 3 echoes answered/)
    assert.deepEqual(bob.printed, [])
    const names = events.map(({ name }) => name)
    for (const name of ['gathered', 'posted', 'answered', 'punched']) assert.ok(names.includes(name as never))
    const punched = events.find((event) => event.name === 'punched')
    assert.ok(punched?.candidates.some((record) => record.nominated !== undefined))
    await bob.stop()
  })

  test('neither ends a running command nor is refused because of it', async () => {
    for (const onRepeat of ['replace', 'refuse'] as const) {
      const bob = await accepter({}, { command: sleeping(), onRepeat })
      const alice = await inviter(new WatchedLog())
      await bob.log.said(/the command runs/)
      const { report } = await ping()
      assert.equal(report.replies.size, 3)
      assert.equal(bob.log.count(/the command exited|refused/), 0)
      await alice.stop()
      await bob.stop()
    }
  })

  test('is told BUSY while a command holds the fixed port, and answered when none does', async () => {
    const free = UdpPort.open({ address: '127.0.0.1' })
    const port = free.local(4)?.port ?? 0
    await free.close()
    const bob = await accepter({ bind: { address: '127.0.0.1', port } }, { command: sleeping() })
    assert.equal((await ping()).report.replies.size, 3)
    await bob.log.said(/ping over/)
    const alice = await inviter(new WatchedLog())
    await bob.log.said(/the command runs/)
    await assert.rejects(ping(), (error) => error instanceof PlexusError && error.code === 'BUSY')
    await alice.stop()
    await bob.stop()
  })

  test('works while the command of the accepter is missing, which an inviter is told before the punch', async () => {
    const script = join(world.directory, 'gone.sh')
    await writeFile(script, '#!/bin/sh\n', { mode: 0o755 })
    const command = parseCommand({ command: script }, { env: process.env, log: new MemoryLog() })
    await rm(script)
    const bob = await accepter({}, { command })
    assert.equal((await ping()).report.replies.size, 3)
    const log = new WatchedLog()
    const alice = await inviter(log)
    await assert.rejects(
      alice.ended,
      (error) =>
        error instanceof PlexusError &&
        error.code === 'PEER_COMMAND' &&
        error.exitCode === 1 &&
        /gone\.sh cannot be run/.test(error.message),
    )
    assert.equal(log.count(/punching/), 0)
    await bob.stop()
  })

  test('is over at the accepter when its peer has gone without a word', async () => {
    const bob = await accepter()
    const { signal } = new AbortController()
    const context = await world.context(ALICE)
    const { port } = await invite(context, parseIdentity(BOB), { signal, purpose: 'ping' })
    await port.close()
    await bob.log.said(/ping over: 0 echoes answered/)
    await bob.stop()
  })

  test('is refused by an accepter that has nobody for it', async () => {
    const apart = await World.create([ALICE, BOB])
    const bob = await apart.accepter(BOB)
    const refused = ping(new MemoryLog(), 3, apart)
    await assert.rejects(refused, (error) => error instanceof PlexusError && error.code === 'REFUSED')
    assert.equal(bob.passages.length, 0)
    await apart.close()
  })

  test('ends with its accepter', async () => {
    const bob = await accepter()
    const pinging = ping(new MemoryLog(), 20)
    await bob.log.said(/punched in/)
    await bob.stop()
    assert.ok((await pinging).report.replies.size < 20)
  })
})

test('nobody can ping themselves, and is told so at once; an invite that nobody answers says it too', async () => {
  const names = [ALICE, BOB, 'carol@px.test/phone']
  const world = await World.create(names)
  const { signal } = new AbortController()
  try {
    for (const name of names) {
      const context = await world.context(name)
      const own = { code: 'BAD_FLAG', message: `${name} is your own identity.` }
      await assert.rejects(runPing(context, parseIdentity(name), { signal, count: 1, tell: () => {} }), own)
      const invited = invite({ ...context, timeout: 300 }, parseIdentity(name), { signal })
      await assert.rejects(invited, { code: 'PEER_SILENT', message: /This is your own identity/ })
    }
  } finally {
    await world.close()
  }
})

describe('a pairing', () => {
  let world: World
  before(async () => {
    world = await World.create([ALICE, BOB])
  })
  after(() => world.close())

  async function both(pwd: string | undefined) {
    const log = { alice: new WatchedLog(), bob: new WatchedLog() }
    const command = (text: MemoryLog, more: object = {}) =>
      parseCommand({ command: '/bin/sleep', args: '60', ...more }, { env: process.env, log: text })
    const end = new AbortController()
    const settings = { environment: process.env, print: () => {} }
    const accepting = runAccepter(
      {
        ...settings,
        context: await world.context(BOB, { log: log.bob }),
        command: command(log.bob, pwd === undefined ? {} : { pwd }),
        peers: undefined,
        onRepeat: 'replace',
        seenFile: join(world.directory, 'seen'),
      },
      { signal: end.signal },
    )
    const context = await world.context(ALICE, { log: log.alice })
    const inviting = runInviter(
      { ...settings, context, command: command(log.alice) },
      parseIdentity(BOB),
      end,
    )
    const failure = inviting.then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    const stop = async () => {
      end.abort(new PlexusError('CANCELLED', 'The test ends it.'))
      await Promise.allSettled([accepting, inviting])
    }
    return { log, failure, stop }
  }

  test('whose accepter cannot start its command tells the inviter why', async () => {
    const { log, failure, stop } = await both(join(world.directory, 'nowhere'))
    const why = /gave up: The working directory .*nowhere of the command does not exist/
    // heard in time it is what the pairing fails with; later the passage stands, and the log has it
    const told = await Promise.race([log.alice.said(why), failure])
    if (told instanceof PlexusError)
      assert.deepEqual([told.code, why.test(told.message)], ['PEER_COMMAND', true])
    else assert.equal(log.alice.count(/"PEER_COMMAND"/), 1)
    await stop()
  })

  test('has the same short session id in every line of both logs', async () => {
    const { log, stop } = await both(undefined)
    await Promise.all([log.alice.said(/the command runs/), log.bob.said(/the command runs/)])
    await stop()
    const [id] = /"session":"[0-9a-f]{8}"/.exec(log.alice.lines[0] ?? '') ?? []
    assert.ok(id)
    const begun = log.bob.lines.findIndex((line) => /invited by/.test(line))
    const theirs = log.bob.lines.slice(begun)
    for (const line of [...log.alice.lines, ...theirs]) assert.ok(line.includes(id), line)
  })
})

describe('the datagrams of a ping', () => {
  const own = ephemeral()
  const peer = ephemeral()
  const keys = deriveKeys(own.privateKey, peer.publicKey, Buffer.from('invite'), Buffer.from('answer'))
  const inviter = new EchoCipher('inviter', keys, systemRandom)
  const accepter = new EchoCipher('accepter', keys, systemRandom)

  test('are opened by the peer alone', () => {
    const sealed = inviter.seal({ type: 'echo', sequence: 0xffffffff })
    assert.deepEqual(accepter.open(sealed), { type: 'echo', sequence: 0xffffffff })
    assert.equal(inviter.open(sealed), undefined, 'not thrown back at its sender')
  })

  test('are opened whole or not at all', () => {
    const sealed = accepter.seal({ type: 'reply', sequence: 7 })
    for (let at = 0; at < sealed.length; at++) {
      const bent = Buffer.from(sealed)
      bent[at] = (bent[at] ?? 0) ^ 1
      assert.equal(inviter.open(bent), undefined)
      assert.equal(inviter.open(sealed.subarray(0, at)), undefined)
    }
    for (let length = 0; length < 200; length++) assert.equal(inviter.open(systemRandom(length)), undefined)
  })

  test('are never alike', () => {
    const made = new Set(
      Array.from({ length: 100 }, () => accepter.seal({ type: 'bye', sequence: 0 }).toString('hex')),
    )
    assert.equal(made.size, 100)
  })
})
