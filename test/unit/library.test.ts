import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { getEventListeners, once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { inspect } from 'node:util'
import {
  type AcceptOptions,
  accept,
  createIdentity,
  type ErrorCode,
  type InviteOptions,
  invite,
  type Passage,
  PlexusError,
  UdpPort,
} from '../../src/index.js'
import { MemoryLog } from '../support/log.js'
import { MeetingPlace } from '../support/memory-rendezvous.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const CAROL = 'carol@px.test/phone'

let scratch = ''
let repository = ''
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-library-'))
  repository = join(scratch, 'repository')
  for (const name of [ALICE, BOB, CAROL]) await createIdentity(repository, name, { key: 'ec' })
})
after(() => rm(scratch, { recursive: true, force: true }))

const coded = (code: ErrorCode, words?: RegExp) => (error: unknown) =>
  error instanceof PlexusError && error.code === code && (words === undefined || words.test(error.message))

/** Both sides of pairings at a place of their own. */
class Stage {
  readonly place = new MeetingPlace()
  readonly accepting: AcceptOptions
  readonly inviting: InviteOptions

  constructor() {
    const common = { repository, app: 'test', timeout: 10_000 }
    this.accepting = { ...common, host: BOB, rendezvous: this.place.rendezvous() }
    this.inviting = { ...common, host: ALICE, peer: BOB, rendezvous: this.place.rendezvous() }
  }
}

/** The next passage of an accepter, which has to come. */
async function take(passages: AsyncIterator<Passage>): Promise<Passage> {
  const { value, done } = await passages.next()
  assert.ok(!done, 'the accepter ended')
  return value
}

async function closeAll(...passages: readonly Passage[]): Promise<void> {
  await Promise.all(passages.map(({ socket }) => socket.close()))
}

/** Both ends of one pairing. */
async function pair(stage: Stage, passages: AsyncIterator<Passage>): Promise<[Passage, Passage]> {
  return Promise.all([invite(stage.inviting), take(passages)])
}

describe('a passage', () => {
  test('is the same for both programs, and its socket carries what they say', async () => {
    const stage = new Stage()
    const passages = accept(stage.accepting)
    const [laptop, server] = await pair(stage, passages)
    assert.deepEqual([laptop.role, laptop.host, laptop.peer, laptop.app], ['inviter', ALICE, BOB, 'test'])
    assert.deepEqual([server.role, server.host, server.peer, server.app], ['accepter', BOB, ALICE, 'test'])
    assert.equal(laptop.session, server.session)
    assert.ok(laptop.key.equals(server.key))
    assert.ok(laptop.expand('a', 40).equals(server.expand('a', 40)))
    assert.ok(!laptop.expand('a', 32).equals(laptop.expand('b', 32)))
    const heard = new Promise((resolve) => {
      server.socket.listen(({ data }) => data.length === 5 && resolve(data.toString()))
    })
    laptop.socket.send(Buffer.from('hello'), laptop.faraway)
    assert.equal(await heard, 'hello')
    await closeAll(laptop, server)
    await passages.return?.()
  })

  test('that is released leaves its port to another socket, through which the peer is reached', async () => {
    const stage = new Stage()
    const passages = accept(stage.accepting)
    const [laptop, server] = await pair(stage, passages)
    const inner = await laptop.release()
    assert.deepEqual(inner, laptop.inner)
    assert.deepEqual(await laptop.release(), inner, 'twice is harmless')
    const socket = createSocket(inner.address.includes(':') ? 'udp6' : 'udp4')
    socket.bind(inner.port, inner.address)
    await once(socket, 'listening')
    const heard = new Promise((resolve) => {
      server.socket.listen(({ data, from }) => data.toString() === 'it is me' && resolve(from.port))
    })
    socket.send('it is me', laptop.faraway.port, laptop.faraway.address)
    assert.equal(await heard, server.faraway.port)
    socket.close()
    await closeAll(server)
    await passages.return?.()
  })

  test('comes over a rendezvous that is named by its URL', async () => {
    const stage = new Stage()
    const url = `dir:${join(scratch, 'meeting')}`
    const ready = { count: 0 }
    const passages = accept({ ...stage.accepting, rendezvous: url, onReady: () => ready.count++ })
    const inviting = invite({ ...stage.inviting, rendezvous: [url] })
    const [laptop, server] = await Promise.all([inviting, take(passages)])
    assert.equal(laptop.session, server.session)
    assert.equal(ready.count, 1)
    await closeAll(laptop, server)
    await passages.return?.()
  })
})

describe('an accepter', () => {
  test('yields one passage for each pairing, and goes on pairing while the loop is busy', async () => {
    const stage = new Stage()
    const passages = accept(stage.accepting)
    const first = take(passages)
    const [one, two] = await Promise.all([invite(stage.inviting), invite({ ...stage.inviting, host: CAROL })])
    // the second was made while nobody asked for it
    const taken = [await first, await take(passages)]
    assert.deepEqual(taken.map(({ session }) => session).sort(), [one.session, two.session].sort())
    await closeAll(one, two, ...taken)
    await passages.return?.()
  })

  test('whose loop is left gives back what nobody took, and keeps what was', async () => {
    const stage = new Stage()
    let kept: Passage | undefined
    let inviters: Passage[] = []
    const inviting = Promise.all([invite(stage.inviting), invite({ ...stage.inviting, host: CAROL })])
    for await (const passage of accept(stage.accepting)) {
      kept = passage
      inviters = await inviting
      break
    }
    assert.ok(kept)
    const other = inviters.find(({ session }) => session !== kept?.session)
    assert.ok(other)
    // the port at which the other inviter was to be met is free again, the one that was taken is not
    await UdpPort.open({ address: kept.inner.address, port: other.faraway.port }).close()
    assert.throws(() => UdpPort.open({ address: kept?.inner.address ?? '', port: kept?.inner.port ?? 0 }))
    await closeAll(kept, ...inviters)
  })

  test('ends without an error when its signal aborts, also while it waits', async () => {
    const stage = new Stage()
    const controller = new AbortController()
    const { signal } = controller
    const passages = accept({ ...stage.accepting, signal, onReady: () => controller.abort() })
    assert.deepEqual(await passages.next(), { done: true, value: undefined })
    assert.deepEqual(await passages.next(), { done: true, value: undefined })
    assert.equal(getEventListeners(signal, 'abort').length, 0)
    const late = accept({ ...stage.accepting, signal })
    assert.equal((await late.next()).done, true, 'a signal that has aborted begins nothing')
  })

  test('ends a wait when it is told to return', async () => {
    const passages = accept(new Stage().accepting)
    const waiting = passages.next()
    await passages.return?.()
    assert.equal((await waiting).done, true)
  })

  test('with a full backlog tells inviters that it is busy, and has room again once one was taken', async () => {
    const stage = new Stage()
    const passages = accept({ ...stage.accepting, backlog: 1 })
    const first = take(passages)
    const one = await invite(stage.inviting)
    const taken = [await first]
    const two = await invite(stage.inviting) // waits to be taken
    const carol = { ...stage.inviting, host: CAROL }
    await assert.rejects(invite(carol), coded('BUSY', /Too many pairings are waiting/))
    taken.push(await take(passages))
    const three = await invite(carol)
    taken.push(await take(passages))
    await closeAll(one, two, three, ...taken)
    await passages.return?.()
  })

  test('asks about each inviter, and tells those that it does not take why', async () => {
    const stage = new Stage()
    const asked: string[] = []
    const log = new MemoryLog()
    const verdicts = [
      false,
      { code: 'BUSY', sentence: 'Not before noon.' } as const,
      new TypeError('a fault of the program'),
      true,
    ]
    const passages = accept({
      ...stage.accepting,
      log,
      admit: async (peer) => {
        asked.push(peer)
        const verdict = verdicts.shift() ?? false
        if (verdict instanceof Error) throw verdict
        return verdict
      },
    })
    const first = take(passages)
    await assert.rejects(invite(stage.inviting), coded('REFUSED', /does not accept you/))
    await assert.rejects(invite(stage.inviting), coded('BUSY', /Not before noon/))
    await assert.rejects(invite(stage.inviting), coded('REFUSED'))
    assert.equal(log.count(/admit failed/), 1)
    await closeAll(await invite(stage.inviting), await first)
    assert.deepEqual(asked, [ALICE, ALICE, ALICE, ALICE])
    await passages.return?.()
  })

  test('that was given peers does not answer others', async () => {
    const stage = new Stage()
    const log = new MemoryLog()
    const passages = accept({ ...stage.accepting, peers: [ALICE], log })
    const first = take(passages)
    await assert.rejects(invite({ ...stage.inviting, host: CAROL, timeout: 300 }), coded('PEER_SILENT'))
    assert.ok(log.count(/SENDER_UNKNOWN/) > 0)
    await closeAll(await invite(stage.inviting), await first)
    await passages.return?.()
  })

  test('on a fixed port is busy for as long as the passage is open', async () => {
    const stage = new Stage()
    const probe = UdpPort.open()
    const port = probe.local(4)?.port ?? 0
    await probe.close()
    const passages = accept({ ...stage.accepting, bind: { port } })
    const [one, taken] = await pair(stage, passages)
    assert.equal(taken.inner.port, port)
    const carol = { ...stage.inviting, host: CAROL }
    const second = take(passages)
    await assert.rejects(invite(carol), coded('BUSY', new RegExp(`port ${port}`)))
    await closeAll(taken)
    const two = await invite(carol)
    await closeAll(one, two, await second)
    await passages.return?.()
  })

  test('knows a session again after a restart, when it was given a state directory', async () => {
    const stage = new Stage()
    const stateDirectory = join(scratch, 'state')
    const first = accept({ ...stage.accepting, stateDirectory })
    await closeAll(...(await pair(stage, first)))
    await first.return?.()
    // the place keeps every message: the old invite lies there when the accepter comes again
    const log = new MemoryLog()
    const again = accept({ ...stage.accepting, stateDirectory, log })
    await closeAll(...(await pair(stage, again)))
    await again.return?.()
    assert.equal(log.count(/REPLAYED/), 1)
  })

  test('without a state directory leaves none behind', async () => {
    const before = process.env.TMPDIR
    const temporary = await mkdtemp(join(scratch, 'tmp-'))
    process.env.TMPDIR = temporary
    try {
      const stage = new Stage()
      const passages = accept(stage.accepting)
      await closeAll(...(await pair(stage, passages)))
      assert.equal((await readdir(temporary)).length, 1)
      await passages.return?.()
      assert.deepEqual(await readdir(temporary), [])
    } finally {
      if (before === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = before
    }
  })
})

describe('options', () => {
  const good: InviteOptions = { repository: '/none', host: ALICE, peer: BOB, rendezvous: 'dir:/none' }
  const wrong: readonly (readonly [object, ErrorCode, RegExp])[] = [
    [{ host: undefined }, 'BAD_OPTION', /'host' is missing.*owner\/pin/],
    [{ peer: 7 }, 'BAD_OPTION', /'peer' is 7, but must be owner\/pin/],
    [{ host: 'alice' }, 'IDENTITY_NAME', /alice/],
    [{ repository: undefined }, 'BAD_OPTION', /'repository' is missing/],
    [{}, 'REPOSITORY', /\/none/],
    [{ app: '' }, 'BAD_OPTION', /'app' is ''/],
    [{ timeout: '60' }, 'BAD_OPTION', /'timeout' is '60', but must be a whole number from 1/],
    [{ timeout: Number.NaN }, 'BAD_OPTION', /'timeout' is NaN/],
    [{ hops: 256 }, 'BAD_OPTION', /'hops' is 256.*from 1 to 255/],
    [{ bind: { port: -1 } }, 'BAD_OPTION', /'bind.port' is -1/],
    [{ bind: { address: 5 } }, 'BAD_OPTION', /'bind.address'/],
    [{ bind: '0.0.0.0' }, 'BAD_OPTION', /'bind' is '0.0.0.0'/],
    [{ stunServers: 'one' }, 'BAD_OPTION', /'stunServers' is 'one'.*a list/],
  ]

  for (const [change, code, words] of wrong) {
    test(`${inspect(change)} of an inviter is told as ${code}`, async () => {
      await assert.rejects(invite({ ...good, ...change }), coded(code, words))
    })
  }

  test('of a rendezvous that is none are told, and nothing is left of what was opened before', async () => {
    for (const [rendezvous, code] of [
      [undefined, 'BAD_OPTION'],
      [{ post: 1 }, 'BAD_OPTION'],
      [['dir:/tmp', 5], 'BAD_OPTION'],
      ['nonsense:', 'BAD_RENDEZVOUS'],
      [[], 'BAD_RENDEZVOUS'],
    ] as const) {
      const options = { ...good, repository, rendezvous } as unknown as InviteOptions
      await assert.rejects(invite(options), coded(code))
    }
  })

  test('of an accepter are checked when it begins', async () => {
    const { peer: _, ...rest } = good
    for (const [change, words] of [
      [{ peers: ALICE }, /'peers'.*a list/],
      [{ backlog: 17 }, /'backlog' is 17/],
      [{ admit: true }, /'admit' is true.*a function/],
      [{ onReady: 'now' }, /'onReady'/],
    ] as const) {
      const options = { ...rest, ...change } as unknown as AcceptOptions
      await assert.rejects(accept(options).next(), coded('BAD_OPTION', words))
    }
    await assert.rejects(accept({ ...rest, repository: '/none' }).next(), coded('REPOSITORY'))
    const file = { ...rest, repository, stateDirectory: '/dev/null/state' }
    await assert.rejects(accept(file).next(), coded('STATE_DIRECTORY'))
  })

  test('of a signal that has aborted make nothing begin', async () => {
    const reason = new Error('changed my mind')
    await assert.rejects(invite({ ...good, signal: AbortSignal.abort(reason) }), reason)
  })
})
