import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openDhtNode } from '../../rendezvous/dht/index.js'
import {
  type AcceptOptions,
  accept,
  createIdentity,
  formatEndpoint,
  type InviteOptions,
  invite,
  isAbort,
  type Passage,
  PlexusError,
  StunServer,
  silent,
  UdpPort,
} from '../../src/index.js'
import { MeetingPlace } from '../support/memory-rendezvous.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

let scratch = ''
let common = { repository: '', timeout: 10_000 }
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-resources-'))
  common = { ...common, repository: join(scratch, 'repository') }
  for (const name of [ALICE, BOB]) await createIdentity(common.repository, name, { key: 'ec' })
})
after(() => rm(scratch, { recursive: true, force: true }))

/** What was closed is gone when the loop has turned once. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Runs a use of the library, and compares what keeps the process alive before it and the moment after it. */
async function leavesNothing(use: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const { signal } = new AbortController()
  await turn()
  const before = process.getActiveResourcesInfo().sort()
  const listened = process.eventNames()
  await use(signal)
  await turn()
  assert.deepEqual(process.getActiveResourcesInfo().sort(), before)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  assert.deepEqual(process.eventNames(), listened, 'signals and the end of the process are not listened to')
}

/** One pairing; both ends of it are closed, and the loop is left. */
async function pairOnce(accepting: AcceptOptions, inviting: InviteOptions): Promise<void> {
  const inviter = invite(inviting)
  for await (const passage of accept(accepting)) {
    await passage.release()
    break
  }
  const passage: Passage = await inviter
  await passage.socket.close()
}

/** A UDP port that nobody holds at the moment. */
async function freePort(): Promise<number> {
  const port = UdpPort.open({ address: '127.0.0.1' })
  const number = port.local(4)?.port ?? 0
  await port.close()
  return number
}

function sides(signal: AbortSignal): [AcceptOptions, InviteOptions] {
  const place = new MeetingPlace()
  return [
    { ...common, host: BOB, rendezvous: place.rendezvous(), signal },
    { ...common, host: ALICE, peer: BOB, rendezvous: place.rendezvous(), signal },
  ]
}

test('a pairing that went well leaves no timer, socket, file or listener', async () => {
  await leavesNothing(async (signal) => pairOnce(...sides(signal)))
})

test('neither does one with STUN, over a rendezvous that was opened for it', async () => {
  const stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
  const [at] = stun.endpoints
  assert.ok(at)
  const more = { stunServers: [formatEndpoint(at)], rendezvous: `dir:${join(scratch, 'meeting')}` }
  await leavesNothing(async (signal) => {
    const [accepting, inviting] = sides(signal)
    await pairOnce({ ...accepting, ...more }, { ...inviting, ...more })
  })
  await stun.close()
})

test('neither does one over a DHT that was opened for it', async () => {
  const listen = { address: '127.0.0.1', port: await freePort() }
  const node = await openDhtNode({ listen, bootstrap: [], log: silent })
  const more = { rendezvous: `dht://${formatEndpoint(listen)}` }
  await leavesNothing(async (signal) => {
    const [accepting, inviting] = sides(signal)
    await pairOnce({ ...accepting, ...more }, { ...inviting, ...more })
  })
  await node.close()
})

test('neither does an invite that nobody answers', async () => {
  await leavesNothing(async (signal) => {
    const [, inviting] = sides(signal)
    const code = (error: unknown) => error instanceof PlexusError && error.code === 'PEER_SILENT'
    await assert.rejects(invite({ ...inviting, timeout: 200 }), code)
  })
})

test('neither does an invite that is refused', async () => {
  await leavesNothing(async (signal) => {
    const [accepting, inviting] = sides(signal)
    const passages = accept({ ...accepting, admit: () => false })
    const waiting = passages.next()
    await assert.rejects(invite(inviting), { code: 'REFUSED' })
    await passages.return?.()
    await waiting
  })
})

test('neither does what is aborted in the middle, on either side', async () => {
  await leavesNothing(async (signal) => {
    const [accepting, inviting] = sides(signal)
    const controller = new AbortController()
    const reason = new PlexusError('CANCELLED', 'Enough.')
    const admit = () => {
      // the accepter has the invite, and is about to gather
      setImmediate(() => controller.abort(reason))
      return true
    }
    const passages = accept({ ...accepting, admit, signal: controller.signal })
    const waiting = passages.next()
    await assert.rejects(invite({ ...inviting, signal: controller.signal }), isAbort)
    assert.equal((await waiting).done, true)
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  })
})

test('neither does a mistake that is found before anything begins', async () => {
  await leavesNothing(async (signal) => {
    const [accepting, inviting] = sides(signal)
    await assert.rejects(invite({ ...inviting, rendezvous: 'nonsense:' }), { code: 'BAD_RENDEZVOUS' })
    await assert.rejects(accept({ ...accepting, rendezvous: 'nonsense:' }).next(), { code: 'BAD_RENDEZVOUS' })
    await assert.rejects(accept({ ...accepting, host: 'nobody/1' }).next(), { code: 'IDENTITY_MISSING' })
  })
})
