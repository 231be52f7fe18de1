import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import {
  accept,
  createIdentity,
  ERROR_CODES,
  type ErrorCode,
  invite,
  openTunnel,
  type Passage,
  PlexusError,
  serve,
} from '../../src/index.js'
import { forPrograms, inOptions } from '../../src/library/option-words.js'
import { systemClock } from '../../src/system/index.js'
import { MemoryLog } from '../support/log.js'
import { MeetingPlace } from '../support/memory-rendezvous.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const CAROL = 'carol@px.test/phone'

let scratch = ''
let repository = ''
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-serve-'))
  repository = join(scratch, 'repository')
  for (const name of [ALICE, BOB, CAROL]) await createIdentity(repository, name, { key: 'ec' })
})
after(() => rm(scratch, { recursive: true, force: true }))

/** A program that serves, until `end`, and inviters of it. */
function stage() {
  const place = new MeetingPlace()
  const common = { repository, app: 'test', timeout: 10_000 }
  const ending = new AbortController()
  return {
    serving: { ...common, host: BOB, rendezvous: place.rendezvous(), signal: ending.signal },
    invite: (host: string) => invite({ ...common, host, peer: BOB, rendezvous: place.rendezvous() }),
    end: () => ending.abort(),
  }
}

async function echo(passage: Passage): Promise<string> {
  await using tunnel = await openTunnel(passage)
  const stream = tunnel.open('echo')
  stream.end('hello')
  const [answer] = await once(stream, 'data')
  return String(answer)
}

const echoing = (passage: Passage) =>
  openTunnel(passage, {
    onStream: ({ name }) => (name === 'echo' ? (s) => s.pipe(s) : { refuse: 'Not for you.' }),
  })

describe('serve', () => {
  test('goes on with everybody when one handler fails, and tells whose it was', async () => {
    const { serving, invite, end } = stage()
    const failures: string[] = []
    const served = serve(
      { ...serving, onError: (error, peer) => failures.push(`${peer} ${error.code} ${error.message}`) },
      async (passage) => {
        if (passage.peer === ALICE) throw new Error('a fault of the handler')
        await echoing(passage)
      },
    )
    const alice = await invite(ALICE)
    assert.equal(await echo(await invite(CAROL)), 'hello')
    assert.deepEqual(failures, [`${ALICE} INTERNAL a fault of the handler.`])
    await alice.socket.close()
    end()
    await served
  })

  test('a peer that opens no tunnel holds up nobody', async () => {
    const { serving, invite, end } = stage()
    const began: Promise<unknown>[] = []
    const served = serve({ ...serving, onError: () => {} }, (passage, signal) => {
      const opening = openTunnel(passage, { signal, onStream: () => (s) => s.pipe(s) })
      began.push(opening.catch(() => {}))
      return opening
    })
    const silent = await invite(ALICE)
    assert.equal(await echo(await invite(CAROL)), 'hello')
    await silent.socket.close()
    end()
    await served
    await Promise.all(began)
  })

  test('closes a passage when its handler is done, and keeps a tunnel that was opened on it', async () => {
    const { serving, invite, end } = stage()
    const passages: Passage[] = []
    const served = serve(serving, async (passage) => {
      passages.push(passage)
      if (passage.peer === CAROL) await echoing(passage)
    })
    const alice = await invite(ALICE)
    assert.equal(await echo(await invite(CAROL)), 'hello')
    const [first] = passages
    assert.ok(first)
    await first.socket.closed
    await alice.socket.close()
    end()
    await served
  })

  test('has its handlers end by the signal, and returns when they have', async () => {
    const { serving, invite, end } = stage()
    let state = 'none'
    const began = new EventTarget()
    const served = serve(serving, async (_, signal) => {
      state = 'serving'
      began.dispatchEvent(new Event('one'))
      await once(signal, 'abort')
      state = 'ended'
    })
    const one = once(began, 'one')
    const alice = await invite(ALICE)
    await one
    assert.equal(state, 'serving')
    end()
    await served
    assert.equal(state, 'ended')
    await alice.socket.close()
  })

  test('takes no more than it was told to, and has room again', async () => {
    const { serving, invite, end } = stage()
    const waiting: (() => void)[] = []
    const served = serve(
      { ...serving, limit: 1, backlog: 1 },
      () => new Promise<void>((done) => waiting.push(done)),
    )
    const first = await invite(ALICE)
    const second = await invite(CAROL) // waits in the backlog
    assert.equal(waiting.length, 1)
    waiting[0]?.()
    await first.socket.close()
    await second.socket.close()
    end()
    while (waiting.length < 2) await new Promise((done) => setImmediate(done))
    waiting[1]?.()
    await served
  })

  test('what is wrong with its options is told before anything begins', async () => {
    const { serving } = stage()
    const bad = (work: Promise<void>) =>
      assert.rejects(work, (error) => error instanceof PlexusError && error.code === 'BAD_OPTION')
    await bad(serve(serving, 'no function' as never))
    await bad(serve({ ...serving, limit: 0 }, () => {}))
    await bad(serve({ ...serving, onError: 1 as never }, () => {}))
  })
})

describe('for a program', () => {
  test('a refusal by policy has a code of its own, with the sentence of the policy', async () => {
    const { serving, invite, end } = stage()
    const served = serve(serving, (passage) => echoing(passage))
    const tunnel = await openTunnel(await invite(ALICE))
    const [error] = await once(tunnel.open('else'), 'error')
    assert.equal(error.code, 'SERVICE_DENIED')
    assert.match(error.message, /Not for you\./)
    await tunnel.close()
    end()
    await served
  })

  test('times are dates and hundredths of a millisecond', async () => {
    const { serving, invite, end } = stage()
    const before = Date.now()
    const served = serve(serving, (passage) => echoing(passage))
    const passage = await invite(ALICE)
    const tunnel = await openTunnel(passage)
    const { since, rtt } = tunnel.stats()
    assert.ok(since instanceof Date && since.getTime() >= before - 1 && since.getTime() <= Date.now() + 1)
    for (const time of [rtt, passage.rtt]) {
      assert.ok(time === undefined || time === Number(time.toFixed(2)), String(time))
    }
    await tunnel.close()
    end()
    await served
  })

  test('an accepter, a passage and a tunnel end with an `await using`', async () => {
    const { serving, invite } = stage()
    let passage: Passage
    {
      await using passages = accept(serving)
      const coming = passages.next()
      await using laptop = await invite(ALICE)
      passage = laptop
      const { value } = await coming
      assert.ok(value)
      await value.socket.close()
    }
    await passage.socket.closed
  })

  test('`console` is a log', async () => {
    const lines: string[] = []
    const line =
      (level: string) =>
      (...words: unknown[]) =>
        lines.push(`${level} ${words.map(String).join(' ')}`)
    const log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
    const logged: typeof log | Console = log
    const { serving, invite, end } = stage()
    const served = serve({ ...serving, log: logged }, () => {})
    await (await invite(ALICE)).socket.close()
    end()
    await served
    assert.ok(
      lines.some((text) => /^info invited by alice@px\.test\/laptop/.test(text)),
      lines.join('\n'),
    )
  })

  test('advice speaks of options, not of flags', () => {
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      const error = forPrograms(new PlexusError(code, 'The value of --app-id is odd.')) as PlexusError
      assert.equal(error.code, code)
      assert.doesNotMatch(`${error.message} ${error.advice}`, /--[a-z]/)
    }
    assert.equal(
      inOptions('Check DNS, or name servers by address with --stun-server.'),
      'Check DNS, or name servers by address with `stunServers`.',
    )
    assert.equal(inOptions('Name one in --dht-bootstrap.'), "Name one in rendezvousOptions['dht-bootstrap'].")
  })

  test('a failure of a call is told in options', async () => {
    const { serving } = stage()
    await assert.rejects(invite({ ...serving, peer: 'nobody@px.test/none', host: ALICE }), (error) => {
      assert.ok(error instanceof PlexusError)
      assert.doesNotMatch(error.advice, /--[a-z]/)
      return true
    })
  })
})

test('the identities of a tunnel are proven again after twelve hours, by the repository as it is then', async () => {
  const { serving, invite, end } = stage()
  let ahead = 0
  const clock = {
    ...systemClock,
    now: () => systemClock.now() + ahead,
    date: () => systemClock.date() + ahead,
  }
  const log = new MemoryLog()
  const proven = /info the peer has proven its identity again/
  const served = serve(serving, (passage) =>
    openTunnel(passage, { clock, log, onStream: () => (stream) => stream.pipe(stream) }),
  )
  const tunnel = await openTunnel(await invite(ALICE), { clock, log })
  const stream = tunnel.open('echo').on('error', () => {})
  // it is open on both sides when an echo has come back
  stream.write('hello')
  await once(stream, 'data')
  const halfDay = () => {
    ahead += 12 * 3_600_000 + 1_000
    // both sides look at once, and not only with their next keep-alive
    stream.write('hello')
  }
  halfDay()
  await log.until(proven, 2)
  await rm(join(repository, 'alice@px.test'), { recursive: true })
  halfDay()
  const { kind } = await tunnel.over
  assert.equal(kind, 'peer-closed')
  assert.equal(
    log.count(/the peer ended the tunnel and said: The proof of your identity was not accepted/),
    1,
  )
  await createIdentity(repository, ALICE, { key: 'ec' })
  end()
  await served
})
