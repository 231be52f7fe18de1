import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import HyperDHT from 'hyperdht'
import { openDhtNode } from '../../rendezvous/dht/index.js'
import { commitment, dayOf, type IdentityMailbox, placeOf } from '../../rendezvous/dht/place.js'
import { encodePointer } from '../../rendezvous/dht/pointer.js'
import { type Mailbox, openRendezvous, type Rendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { PlexusError } from '../../src/errors/index.js'
import { type Clock, parseEndpoint, silent } from '../../src/net/index.js'
import { contextFor, openNetwork, recorder } from './rendezvous.js'

/** The real clock, this many times as fast: for what happens once in minutes. */
function fast(times: number): Clock {
  return { ...systemClock, timer: (ms, callback) => systemClock.timer(ms / times, callback) }
}

function identity(): IdentityMailbox {
  return { kind: 'identity', app: 'test', identity: 'b/1', certificate: systemRandom(32) }
}

async function opened(t: TestContext, bootstrap: string, more = {}): Promise<Rendezvous> {
  const rendezvous = await openRendezvous([`dht:${bootstrap}`], { ...contextFor(t), ...more })
  t.after(() => rendezvous.close())
  return rendezvous
}

function envelope(to: Mailbox) {
  return { to, from: 'a/1', session: systemRandom(16), expires: Date.now() + 600_000 }
}

/** Posts, and waits until the message was received; then the post is called off. */
async function carry(inviter: Rendezvous, to: Mailbox, messages: AsyncIterator<Uint8Array>, length = 3500) {
  const message = systemRandom(length)
  const enough = new AbortController()
  const posted = inviter.post(envelope(to), message, { signal: enough.signal }).catch((thrown) => {
    if (!enough.signal.aborted) throw thrown
  })
  const received = (async () => {
    for (;;) {
      const { value, done } = await messages.next()
      assert.ok(!done)
      if (message.equals(value)) return
    }
  })()
  await Promise.race([received, posted.then(() => received)])
  enough.abort()
  await posted
}

test('a message as large as the DHT takes them arrives whole', async (t) => {
  const { bootstrap } = await openNetwork(t, 3)
  const [inviter, accepter] = [await opened(t, bootstrap), await opened(t, bootstrap)]
  const mailbox = identity()
  const { signal } = new AbortController()
  const messages = accepter.receive(mailbox, { signal })[Symbol.asyncIterator]()
  for (const length of [996, 997, 16_384]) await carry(inviter, mailbox, messages, length)
  await assert.rejects(inviter.post(envelope(mailbox), systemRandom(16_385), { signal }), {
    code: 'INTERNAL',
  })
})

test('an inviter that starts first finds the accepter that comes later', async (t) => {
  const { bootstrap } = await openNetwork(t, 1)
  const inviter = await opened(t, bootstrap)
  const mailbox = identity()
  const enough = new AbortController()
  const posted = inviter.post(envelope(mailbox), Buffer.from('early'), { signal: enough.signal })
  const nobody = { ...identity(), app: 'somebody else' }
  const other = await opened(t, bootstrap)
  other.receive(nobody, { signal: enough.signal })
  await other.ready?.({ signal: enough.signal })
  const accepter = await opened(t, bootstrap)
  const messages = accepter.receive(mailbox, { signal: enough.signal })[Symbol.asyncIterator]()
  assert.deepEqual((await messages.next()).value, Buffer.from('early'))
  await posted
  enough.abort()
})

test('two accepters with one certificate both get the message', async (t) => {
  const { bootstrap } = await openNetwork(t, 2)
  const [inviter, first, second] = [
    await opened(t, bootstrap),
    await opened(t, bootstrap),
    await opened(t, bootstrap),
  ]
  const mailbox = identity()
  const enough = new AbortController()
  const { signal } = enough
  const reading = [first, second].map((accepter) =>
    accepter.receive(mailbox, { signal })[Symbol.asyncIterator](),
  )
  await Promise.all([first.ready?.({ signal }), second.ready?.({ signal })])
  const posted = inviter.post(envelope(mailbox), Buffer.from('both'), { signal })
  for (const messages of reading) assert.deepEqual((await messages.next()).value, Buffer.from('both'))
  await posted
  enough.abort()
})

/** Announcers that are not the accepter; with a listening server each, if they swallow rings. */
async function announceJunk(
  t: TestContext,
  bootstrap: string,
  mailbox: IdentityMailbox,
  options: { count: number; insiders: boolean; listening: number },
): Promise<void> {
  const [host = '', port = ''] = bootstrap.split(':')
  const dht = new HyperDHT({
    bootstrap: [{ host, port: Number(port) }],
    ephemeral: true,
    quickFirewall: false,
    port: [0, 0],
  })
  t.after(() => dht.destroy({ force: true }))
  await dht.fullyBootstrapped()
  const { topic, pointer } = placeOf(mailbox, dayOf(Date.now()))
  for (let i = 0; i < options.count; i++) {
    const keyPair = HyperDHT.keyPair()
    await dht.announce(topic, keyPair, []).finished()
    if (i < options.listening) await dht.createServer({ firewall: () => true }).listen(keyPair)
    if (!options.insiders) continue
    await dht.mutablePut(keyPair, commitment(mailbox, keyPair.publicKey))
    const forged = encodePointer({ announcer: keyPair.publicKey, relays: [] })
    await dht.mutablePut(pointer, forged, { seq: 2 ** 40 + i })
  }
}

for (const [count, nodes] of [
  [20, 1],
  [60, 1],
  [60, 24],
] as const) {
  for (const insiders of [false, true]) {
    const who = insiders ? 'holders of the certificate' : 'outsiders'
    test(`${count} junk announcers that are ${who} do not stop an accepter in a DHT of ${nodes}`, async (t) => {
      const { bootstrap } = await openNetwork(t, nodes)
      const mailbox = identity()
      const [inviter, accepter] = [await opened(t, bootstrap), await opened(t, bootstrap)]
      const { signal } = new AbortController()
      const messages = accepter.receive(mailbox, { signal })[Symbol.asyncIterator]()
      await accepter.ready?.({ signal })
      await announceJunk(t, bootstrap, mailbox, { count, insiders, listening: 10 })
      for (let i = 0; i < 3; i++) await carry(inviter, mailbox, messages)
    })
  }
}

test('rings that leave no message do not stop honest ones', async (t) => {
  const { bootstrap } = await openNetwork(t, 1)
  const mailbox = identity()
  const [inviter, accepter] = [await opened(t, bootstrap), await opened(t, bootstrap)]
  const { signal } = new AbortController()
  const messages = accepter.receive(mailbox, { signal })[Symbol.asyncIterator]()
  await accepter.ready?.({ signal })
  const [host = '', port = ''] = bootstrap.split(':')
  const dht = new HyperDHT({ bootstrap: [{ host, port: Number(port) }], quickFirewall: false, port: [0, 0] })
  t.after(() => dht.destroy({ force: true }))
  await dht.fullyBootstrapped()
  const { pointer } = placeOf(mailbox, dayOf(Date.now()))
  const found = await dht.mutableGet(pointer.publicKey)
  assert.ok(found)
  for (let i = 0; i < 100; i++) {
    const keyPair = HyperDHT.keyPair()
    if (i % 2 === 0) await dht.mutablePut(keyPair, systemRandom(i * 9)) // a record that is no message
    const stream = dht.connect(found.value.subarray(1, 33), { keyPair, localConnection: false })
    stream.on('error', () => {})
    t.after(() => void stream.destroy())
  }
  await carry(inviter, mailbox, messages)
})

test('the DHT key of an accepter is kept for its owner alone, and used again', async (t) => {
  const { bootstrap } = await openNetwork(t, 1)
  const context = contextFor(t)
  const mailbox = identity()
  const kept: Buffer[] = []
  for (let run = 0; run < 2; run++) {
    const accepter = await openRendezvous([`dht:${bootstrap}`], context)
    const { signal } = new AbortController()
    accepter.receive(mailbox, { signal })
    await accepter.ready?.({ signal })
    await accepter.close()
    const files = readdirSync(context.stateDirectory)
    assert.equal(files.length, 1)
    const path = join(context.stateDirectory, files[0] ?? '')
    assert.equal(statSync(path).mode & 0o777, 0o600)
    kept.push(readFileSync(path))
  }
  assert.deepEqual(kept[0], kept[1])
})

test('a network that is not there at the start is joined when it comes', async (t) => {
  const { nodes, bootstrap } = await openNetwork(t, 1)
  await nodes.pop()?.close()
  const { log, lines } = recorder()
  const more = { clock: fast(4), log }
  const [inviter, accepter] = [await opened(t, bootstrap, more), await opened(t, bootstrap, more)]
  const mailbox = identity()
  const { signal } = new AbortController()
  const messages = accepter.receive(mailbox, { signal })[Symbol.asyncIterator]()
  let ready = false
  const readiness = accepter.ready?.({ signal }).then(() => {
    ready = true
  })
  await assert.rejects(
    inviter.post(envelope(mailbox), Buffer.from('lost'), { signal: AbortSignal.timeout(2500) }),
    (thrown) => thrown instanceof PlexusError && thrown.code === 'RENDEZVOUS_UNREACHABLE',
  )
  assert.equal(ready, false)
  assert.equal(lines.filter(({ level }) => level === 'warn').length, 2, 'one line each says so')
  nodes.push(await openDhtNode({ listen: parseEndpoint(bootstrap), log: silent }))
  await readiness
  await carry(inviter, mailbox, messages)
})

test('an accepter is found again after every node of the network has forgotten it', async (t) => {
  const { nodes, bootstrap } = await openNetwork(t, 1)
  const mailbox = identity()
  const accepter = await opened(t, bootstrap, { clock: fast(20) })
  const { signal } = new AbortController()
  const messages = accepter.receive(mailbox, { signal })[Symbol.asyncIterator]()
  await accepter.ready?.({ signal })
  await nodes.pop()?.close()
  nodes.push(await openDhtNode({ listen: parseEndpoint(bootstrap), log: silent }))
  await carry(await opened(t, bootstrap), mailbox, messages)
})

test('a dead bootstrap node beside a live one does no harm', async (t) => {
  const { bootstrap } = await openNetwork(t, 1)
  const bootstraps = `127.0.0.9:9,${bootstrap}`
  const [inviter, accepter] = [await opened(t, bootstraps), await opened(t, bootstraps)]
  const mailbox = identity()
  const { signal } = new AbortController()
  await carry(inviter, mailbox, accepter.receive(mailbox, { signal })[Symbol.asyncIterator]())
})

test('when nobody has announced itself, a post that runs out of time says so', async (t) => {
  const { bootstrap } = await openNetwork(t, 1)
  const inviter = await opened(t, bootstrap)
  const late = new AbortController()
  const posted = inviter.post(envelope(identity()), Buffer.from('x'), { signal: late.signal })
  await inviter.ready?.({ signal: late.signal })
  const answer = { kind: 'session', app: 'test', identity: 'a/1', seed: systemRandom(32) } as const
  await inviter.post(envelope(answer), Buffer.from('y'), { signal: late.signal })
  late.abort(new PlexusError('TIMEOUT', 'Too late.'))
  await assert.rejects(posted, { code: 'PEER_SILENT' })
})

/** A UDP server on loopback that answers every datagram with these bytes. */
async function stranger(t: TestContext, answer: Buffer): Promise<string> {
  const socket = createSocket('udp4')
  socket.on('message', (_data, from) => socket.send(answer, from.port, from.address))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.after(() => socket.close())
  return `127.0.0.1:${socket.address().port}`
}

test('a bootstrap node of another network is an error that names it', async (t) => {
  // what OpenDHT answers to a ping: { r: { id: 20 bytes }, y: 'r' }
  const openDht = Buffer.concat([
    Buffer.from('82a17281a26964c414', 'hex'),
    Buffer.alloc(20, 7),
    Buffer.from('a179a172', 'hex'),
  ])
  for (const [answer, name] of [
    [openDht, /answers as OpenDHT, the network of the original plexus/],
    [Buffer.from('d1:y1:re'), /BitTorrent.*OpenDHT/],
    [systemRandom(3), /OpenDHT/],
  ] as const) {
    const inviter = await opened(t, await stranger(t, answer))
    const signal = AbortSignal.timeout(30_000)
    await assert.rejects(
      inviter.post(envelope(identity()), Buffer.from('x'), { signal }),
      (thrown) =>
        thrown instanceof PlexusError && thrown.code === 'RENDEZVOUS_FOREIGN' && name.test(thrown.message),
    )
  }
})

test('an accepter tells once that its bootstrap node is of another network, and goes on', async (t) => {
  const { log, lines } = recorder()
  const accepter = await opened(t, await stranger(t, Buffer.from('82a179a172', 'hex')), {
    log,
    clock: fast(10),
  })
  const own = new AbortController()
  const next = accepter.receive(identity(), { signal: own.signal })[Symbol.asyncIterator]().next()
  await assert.rejects(
    accepter.post(envelope(identity()), Buffer.from('x'), { signal: AbortSignal.timeout(30_000) }),
    { code: 'RENDEZVOUS_FOREIGN' },
  )
  own.abort()
  assert.equal((await next).done, true)
  assert.equal(lines.filter(({ message }) => message.includes('OpenDHT')).length, 1)
})

test('a DHT node refuses an address that others could not send to', async () => {
  for (const text of ['0.0.0.0:4000', '[::1]:4000', '127.0.0.1:0', '224.0.0.1:4000']) {
    await assert.rejects(openDhtNode({ listen: parseEndpoint(text), log: silent }), { code: 'BAD_ENDPOINT' })
  }
  await assert.rejects(openDhtNode({ listen: parseEndpoint('192.0.2.1:4000'), log: silent }), {
    code: 'ADDRESS_UNAVAILABLE',
  })
})

test('a DHT node says when its port is taken', async (t) => {
  const { bootstrap } = await openNetwork(t, 1)
  await assert.rejects(openDhtNode({ listen: parseEndpoint(bootstrap), log: silent }), {
    code: 'ADDRESS_IN_USE',
  })
})
