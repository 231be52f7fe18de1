import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { silent, UdpPort } from '../../src/net/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { openTunnel, type TunnelStream } from '../../src/wormhole/tunnel/index.js'
import { type TunnelEnds, tunnelEnds } from '../support/tunnel-ends.js'

const HEADER = Buffer.from('a service')
const MIB = 2 ** 20

function echo(stream: TunnelStream): void {
  stream.on('error', () => {})
  stream.pipe(stream)
}

/** All that comes until the end. (The consumers of node:stream destroy a Duplex whose other half is still open.) */
function buffer(stream: TunnelStream): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = []
    stream.on('data', (piece: Buffer) => pieces.push(piece))
    stream.once('end', () => resolve(Buffer.concat(pieces)))
    stream.once('error', reject)
  })
}

async function text(stream: TunnelStream): Promise<string> {
  return (await buffer(stream)).toString()
}

/** Both sides have forgotten every stream. */
async function settled({ initiator, responder }: TunnelEnds): Promise<void> {
  while (initiator.stats().streams + responder.stats().streams > 0) await new Promise(setImmediate)
}

function hash(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

test('a hundred streams at once each echo 200 kB, in both directions', async () => {
  const ends = await tunnelEnds()
  const { initiator, responder, close } = ends
  for (const tunnel of [initiator, responder]) tunnel.onstream(echo)
  await initiator.ready
  const work = Array.from({ length: 100 }, async (_, index) => {
    const stream = (index % 2 === 0 ? initiator : responder).open(HEADER)
    const data = randomBytes(200_000)
    stream.end(data)
    assert.equal(hash(await buffer(stream)), hash(data))
  })
  await Promise.all(work)
  await settled(ends)
  await close()
})

test('20 MB arrive whole over a link that loses 1% and holds back 1%', async () => {
  const ends = await tunnelEnds({ weather: { delay: 2, loss: 0.01, reordering: 0.01, duplication: 0.01 } })
  const { initiator, responder, close } = ends
  const data = randomBytes(20 * MIB)
  const arrived = new Promise<string>((resolve) => {
    responder.onstream(async (stream) => {
      const got = await buffer(stream)
      stream.end()
      resolve(hash(got))
    })
  })
  const stream = initiator.open(HEADER) // before the peer has proven itself: it waits
  stream.resume().end(data)
  assert.equal(await arrived, hash(data))
  assert.ok(initiator.stats().retransmitted > 0)
  await settled(ends)
  await close()
})

test('the header comes with the stream, to a handler that is set late as well', async () => {
  const ends = await tunnelEnds()
  const { initiator, responder, close } = ends
  const stream = initiator.open(HEADER)
  stream.resume().end('first words')
  await responder.ready
  while (responder.stats().streams === 0) await new Promise(setImmediate)
  const got = new Promise<string>((resolve) => {
    responder.onstream(async (other, header) => {
      resolve(`${header}: ${await text(other)}`)
      other.end()
    })
  })
  assert.equal(await got, 'a service: first words')
  await settled(ends)
  await close()
})

test('what the peer opened and ended again before there is a handler is forgotten', async () => {
  const { initiator, responder, close } = await tunnelEnds()
  await initiator.ready
  const until = async (count: number) => {
    for (;;) {
      const { streams, flows } = responder.stats()
      if (streams === count && flows === count) return
      await new Promise(setImmediate)
    }
  }
  const stream = initiator.open(HEADER)
  const flow = initiator.openFlow(HEADER)
  await until(1)
  stream.reset('STREAM_RESET', 'Enough.')
  flow.close()
  await until(0)
  await new Promise(setImmediate)
  const ended = () => assert.fail('it has ended')
  responder.onflow(ended)
  responder.onstream(ended)
  await close()
})

test('an end is half an end: the answer may come after it', async () => {
  const { initiator, responder, close } = await tunnelEnds()
  responder.onstream(async (stream) => {
    const question = await text(stream)
    stream.end(`${question}? Yes.`)
  })
  const stream = initiator.open(HEADER)
  stream.end('Really')
  assert.equal(await text(stream), 'Really? Yes.')
  await close()
})

test('a reset arrives as an error with its code and sentence; what destroys a stream resets it', async () => {
  const { initiator, responder, close } = await tunnelEnds()
  const ends: ((stream: TunnelStream) => void)[] = [
    (stream) => stream.reset('SERVICE_REFUSED', 'Nobody listens at 127.0.0.1:22.'),
    (stream) => stream.destroy(new PlexusError('SERVICE_UNREACHABLE', 'There is no way to 10.0.0.1.')),
    (stream) => stream.destroy(new Error('It broke.')),
    (stream) => stream.destroy(),
  ]
  const expected = [
    ['SERVICE_REFUSED', 'Nobody listens at 127.0.0.1:22.'],
    ['SERVICE_UNREACHABLE', 'There is no way to 10.0.0.1.'],
    ['STREAM_RESET', 'It broke.'],
    ['STREAM_RESET', 'The other side closed the connection.'],
  ]
  let turn = 0
  responder.onstream((stream) => {
    stream.on('error', () => {})
    ends[turn++]?.(stream)
  })
  for (const [code, message] of expected) {
    const stream = initiator.open(HEADER)
    const [error] = (await once(stream, 'error')) as [PlexusError]
    assert.ok(error instanceof PlexusError)
    assert.deepEqual([error.code, error.message], [code, message])
  }
  await close()
})

test('a reader that sleeps makes its writer wait, and nobody else', async () => {
  const { initiator, responder, close } = await tunnelEnds()
  const sleeping: TunnelStream[] = []
  responder.onstream((stream, header) => {
    stream.on('error', () => {})
    if (header.toString() === 'sleep') sleeping.push(stream)
    else echo(stream)
  })
  const slow = initiator.open(Buffer.from('sleep'))
  slow.on('error', () => {})
  let written = 0
  const write = () => {
    do written += 64 * 1024
    while (slow.write(Buffer.alloc(64 * 1024)))
  }
  slow.on('drain', write)
  write()
  const fast = initiator.open(HEADER)
  const data = randomBytes(8 * MIB)
  fast.end(data)
  assert.equal(hash(await buffer(fast)), hash(data))
  assert.ok(written < 2 * MIB, `${written} bytes were taken for a reader that sleeps`)
  // it wakes up, and everything is there
  const before = written
  let read = 0
  sleeping[0]?.on('data', (piece: Buffer) => {
    read += piece.length
  })
  while (read < before) await new Promise(setImmediate)
  slow.destroy()
  await close()
})

test('datagrams go both ways through a flow', async () => {
  const { initiator, responder, close } = await tunnelEnds()
  responder.onflow((flow, header) => {
    flow.onmessage = (data) => flow.send(Buffer.concat([header, data]))
  })
  const flow = initiator.openFlow(Buffer.from('dns '))
  const answered = new Promise<string>((resolve) => {
    flow.onmessage = (data) => resolve(data.toString())
  })
  assert.ok(flow.send(Buffer.from('example.com?')))
  assert.equal(await answered, 'dns example.com?')
  assert.equal(flow.send(Buffer.alloc(flow.maxPayload + 1)), false)
  flow.close()
  await flow.closed
  while (responder.stats().flows > 0) await new Promise(setImmediate)
  await close()
})

test('closing resets what is open, tells the peer, frees the port; the tunnel then opens nothing', async () => {
  const { initiator, responder, ports } = await tunnelEnds()
  const theirs = new Promise<TunnelStream>((resolve) => responder.onstream(resolve))
  const mine = initiator.open(HEADER)
  const broken = Promise.all([once(mine, 'error'), theirs.then((stream) => once(stream, 'error'))])
  await theirs
  await initiator.close('Enough for today.')
  await broken
  assert.deepEqual(await initiator.over, { kind: 'closed' })
  assert.deepEqual(await responder.over, { kind: 'peer-closed' })
  assert.throws(() => initiator.open(HEADER), { code: 'TUNNEL_LOST' })
  for (const port of ports) await UdpPort.open({ address: '127.0.0.1', port }).close()
})

test('an aborted signal closes, at any time, and leaves nothing behind', async () => {
  const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  for (let delay = 0; delay < 20; delay++) {
    const ends = await tunnelEnds()
    for (let turn = 0; turn < delay; turn++) await new Promise(setImmediate)
    ends.initiator.ready.catch(() => {})
    ends.abort()
    await Promise.all([ends.initiator.over, ends.responder.over])
  }
  assert.equal(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length, before)
})

test('the peer is followed to another port by a challenge, and a stream that is open goes on', async () => {
  const { initiator, responder, relay, close } = await tunnelEnds({ weather: { delay: 1 } })
  responder.onstream(echo)
  const stream = initiator.open(HEADER)
  stream.on('error', () => {}) // it is open to the end
  stream.write('before')
  await once(stream, 'data')
  await relay?.rebind()
  stream.write('after')
  assert.equal(String((await once(stream, 'data'))[0]), 'after')
  assert.equal(responder.stats().path.port, relay?.far)
  await close()
})

test('noise at the port during a transfer from somebody who does not see the path: nothing answers, nothing breaks', async () => {
  const { initiator, responder, ports, close } = await tunnelEnds()
  responder.onstream(echo)
  const noise = createSocket('udp4')
  noise.bind(0, '127.0.0.1')
  await once(noise, 'listening')
  let answers = 0
  noise.on('message', () => answers++)
  const stop = setInterval(() => {
    for (let count = 0; count < 20; count++) {
      const data = randomBytes(count % 2 === 0 ? 128 : 1200)
      data[0] = count % 3 === 0 ? 0x80 : (data[0] as number)
      for (const port of ports) noise.send(data, port, '127.0.0.1')
    }
  }, 1)
  const data = randomBytes(20 * MIB)
  const stream = initiator.open(HEADER)
  stream.end(data)
  assert.equal(hash(await buffer(stream)), hash(data))
  clearInterval(stop)
  assert.equal(answers, 0)
  noise.close()
  await close()
})

test('streams work with pipeline, and a pipeline that is aborted resets', async () => {
  const { initiator, responder, close } = await tunnelEnds()
  const broken = new Promise<PlexusError>((resolve) => {
    responder.onstream((stream) => {
      stream.resume()
      stream.once('error', (error) => resolve(error as PlexusError))
    })
  })
  const controller = new AbortController()
  const stream = initiator.open(HEADER)
  async function* endless() {
    for (;;) yield randomBytes(1000)
  }
  const piping = pipeline(endless, stream, { signal: controller.signal })
  await initiator.ready
  controller.abort()
  await assert.rejects(piping, { name: 'AbortError' })
  assert.equal((await broken).code, 'STREAM_RESET')
  await close()
})

test('a key of another length is refused', () => {
  const port = UdpPort.open({ address: '127.0.0.1' })
  const remote = { address: '127.0.0.1', port: 9 }
  const common = {
    clock: systemClock,
    random: systemRandom,
    log: silent,
    signal: new AbortController().signal,
  }
  assert.throws(
    () => openTunnel({ port, initiator: true, remote, key: Buffer.alloc(31), ...common }),
    RangeError,
  )
  return port.close()
})
