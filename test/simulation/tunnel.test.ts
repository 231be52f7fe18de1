import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { Connection } from '../../src/wormhole/tunnel/connection.js'
import type { CoreFlow } from '../../src/wormhole/tunnel/flows.js'
import { Prng } from './prng.js'
import { ADDRESS, DATE, KEY, sinks, type TunnelWeather, TunnelWorld } from './tunnel.js'

const HEADER = Buffer.from('a service')
const MIB = 2 ** 20

function hash(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

const WEATHERS: Record<string, TunnelWeather> = {
  'a quiet LAN': { delay: 0.1 },
  '20 ms and 1% loss': { delay: 10, loss: 0.01 },
  '10% loss, 5% duplication and much reordering': { delay: 10, jitter: 15, loss: 0.1, duplication: 0.05 },
  'a narrow bottleneck': { delay: 20, rate: 1250, queue: 40_000 },
  'only datagrams of 1280 bytes': { delay: 5, mtu: 1280 },
}

for (const [name, weather] of Object.entries(WEATHERS)) {
  test(`what is written arrives, in both directions, over ${name}`, () => {
    const prng = new Prng(7)
    const world = new TunnelWorld(prng, weather)
    const read = { a: sinks(world, world.a), b: sinks(world, world.b) }
    assert.ok(world.ready())
    const sent = new Map<string, string>()
    for (const side of ['a', 'b'] as const) {
      for (let count = 0; count < 3; count++) {
        const stream = world[side].core.streams.open(HEADER)
        const data = prng.bytes(prng.integer(1, MIB / 2))
        stream.write(data.subarray(0, 1000))
        stream.write(data.subarray(1000))
        stream.end()
        sent.set(`${side}${stream.id}`, hash(data))
      }
      world.pump(world[side])
    }
    const arrived = () => [...read.a.values(), ...read.b.values()].filter((sink) => sink.ended).length
    assert.ok(
      world.run(120_000, () => arrived() === 6),
      `${arrived()} of 6 came`,
    )
    for (const side of ['a', 'b'] as const) {
      for (const [id, sink] of read[side]) {
        assert.equal(hash(sink.bytes), sent.get(`${side === 'a' ? 'b' : 'a'}${id}`))
      }
    }
    world.run(5_000)
    assert.equal(world.a.core.figures.streams, 0, 'a stream that both sides ended is forgotten')
    assert.equal(world.b.core.figures.streams, 0)
    assert.equal(world.a.core.figures.congestion.inflight, 0)
  })
}

test('a fresh connection costs one round trip: header, request and answer', () => {
  const world = new TunnelWorld(new Prng(1), { delay: 50 })
  assert.ok(world.ready())
  world.run(1_000)
  world.b.onevent = (event) => {
    if (event.name !== 'stream') return
    assert.deepEqual(event.header, HEADER)
    assert.equal(event.stream.read(world.now)?.toString(), 'request')
    event.stream.write(Buffer.from('answer'))
  }
  let answeredAt = 0
  world.a.onevent = (event) => {
    if (event.name === 'readable') answeredAt = world.now
  }
  const at = world.now
  world.a.core.streams.open(HEADER).write(Buffer.from('request'))
  world.pump(world.a)
  world.run(1_000)
  assert.equal(Math.round(answeredAt - at), 100)
})

test('a side that starts 5 s later is found at once', () => {
  const world = new TunnelWorld(new Prng(2), { delay: 10 }, 5_000)
  assert.ok(world.ready(6_000))
  assert.ok(world.now < 5_200, `${world.now}`)
})

test('the handshake stands 30% loss', () => {
  for (let seed = 0; seed < 200; seed++) {
    const world = new TunnelWorld(new Prng(seed), { delay: 20, loss: 0.3 })
    assert.ok(world.ready(), `seed ${seed}`)
  }
})

test('a peer that never comes is silent after 10 s, and one with another key is nobody', () => {
  const world = new TunnelWorld(new Prng(3), {}, 60_000)
  assert.ok(world.run(10_100, () => world.a.has('over')))
  const stranger = new TunnelWorld(new Prng(3))
  stranger.b.core = new Connection(
    { initiator: false, key: Buffer.alloc(32, 1), remote: ADDRESS.a, random: new Prng(4).bytes },
    0,
  )
  stranger.run(11_000)
  assert.deepEqual(stranger.a.events, [{ name: 'over', ending: { name: 'silent' } }])
  assert.deepEqual(stranger.b.events, [{ name: 'over', ending: { name: 'silent' } }])
})

test('an idle tunnel keeps its NAT open, at two datagrams each 8 s, and lives', () => {
  const world = new TunnelWorld(new Prng(5), { delay: 30 })
  assert.ok(world.ready())
  world.run(10_000)
  const last = { a: world.now, b: world.now }
  let longest = 0
  world.onpassing = ({ from, time }) => {
    longest = Math.max(longest, time - last[from.name])
    last[from.name] = time
    return true
  }
  const { sent } = world
  world.run(3_600_000)
  assert.ok(longest < 20_000, `${longest} ms without a datagram`)
  assert.ok(world.sent - sent < 1_100, `${world.sent - sent} datagrams in an hour`)
  assert.ok(!world.a.has('over') && !world.b.has('over'))
})

test('a dead path is noticed within 10 s of traffic, and of a missed keep-alive', () => {
  const world = new TunnelWorld(new Prng(6), { delay: 10 })
  assert.ok(world.ready())
  world.run(1_000)
  world.weather = { loss: 1 }
  const cut = world.now
  world.a.core.streams.open(HEADER)
  world.pump(world.a)
  assert.ok(world.run(20_000, () => world.a.has('over')))
  assert.ok(world.now - cut < 10_000, `${world.now - cut}`)
  assert.deepEqual(world.a.events.at(-1), { name: 'over', ending: { name: 'dead' } })
  // the other side has nothing to send: its next keep-alive tells
  assert.ok(world.run(20_000, () => world.b.has('over')))
  assert.ok(world.now - cut < 8_000 + 10_000, `${world.now - cut}`)
})

test('an outage of 8 s is survived, and the stream goes on', () => {
  const world = new TunnelWorld(new Prng(8), { delay: 10 })
  const read = sinks(world, world.b)
  assert.ok(world.ready())
  const stream = world.a.core.streams.open(HEADER)
  const data = new Prng(9).bytes(4 * MIB)
  stream.write(data)
  stream.end()
  world.pump(world.a)
  world.run(50)
  world.weather = { loss: 1 }
  world.run(8_000)
  world.weather = { delay: 10 }
  assert.ok(world.run(20_000, () => read.get(stream.id)?.ended === true))
  assert.equal(hash(read.get(stream.id)?.bytes ?? Buffer.alloc(0)), hash(data))
})

test('a process that stood still for a minute does not take that for silence of the peer', () => {
  const world = new TunnelWorld(new Prng(10), { delay: 10 })
  assert.ok(world.ready())
  world.run(1_000)
  world.a.core.streams.open(HEADER)
  world.pump(world.a)
  // the clock of one side jumps: its timers are late, and the answers lie in its socket
  world.a.core.tick(world.now + 60_000)
  assert.equal(world.a.core.state, 'open')
})

test('a peer that was started again is noticed within seconds, and only then', () => {
  for (const again of ['a', 'b'] as const) {
    const world = new TunnelWorld(new Prng(20), { delay: 10 })
    assert.ok(world.ready())
    world.run(2_000)
    const other = world[again === 'a' ? 'b' : 'a']
    const remote = ADDRESS[other.name]
    // kill -9: the new process knows nothing of the old tunnel
    world[again].core = new Connection(
      { initiator: again === 'a', key: KEY, remote, random: new Prng(21).bytes, date: DATE + world.now },
      world.now,
    )
    world.pump(world[again])
    assert.ok(world.run(5_000, () => other.has('over')))
    assert.deepEqual(other.events.at(-1), { name: 'over', ending: { name: 'dead' } })
  }
})

test('half-close: one direction ends, the other goes on', () => {
  const world = new TunnelWorld(new Prng(11), { delay: 10 })
  const served = sinks(world, world.b, () => {})
  assert.ok(world.ready())
  const stream = world.a.core.streams.open(HEADER)
  stream.write(Buffer.from('question'))
  stream.end()
  world.pump(world.a)
  assert.ok(world.run(1_000, () => served.get(stream.id)?.ended === true))
  assert.equal(world.b.core.figures.streams, 1)
  const other = world.b.events.find((event) => event.name === 'stream')
  assert.ok(other?.name === 'stream')
  const got = { text: '', ended: false }
  world.a.onevent = (event) => {
    if (event.name !== 'readable') return
    got.text += event.stream.read(world.now)?.toString() ?? ''
    got.ended = event.stream.atEnd
  }
  world.at(world.now + 5_000, () => {
    other.stream.write(Buffer.from('answer, much later'))
    other.stream.end()
    world.pump(world.b)
  })
  assert.ok(world.run(6_000, () => got.ended))
  assert.equal(got.text, 'answer, much later')
})

test('a reset arrives with its code and its sentence, whatever is lost', () => {
  for (let seed = 0; seed < 50; seed++) {
    const world = new TunnelWorld(new Prng(seed), { delay: 10, loss: 0.2 })
    assert.ok(world.ready())
    world.b.onevent = (event) => {
      if (event.name === 'stream') event.stream.reset('SERVICE_REFUSED', 'Nobody listens at 127.0.0.1:22.')
    }
    const stream = world.a.core.streams.open(HEADER)
    stream.write(Buffer.alloc(100_000))
    world.pump(world.a)
    assert.ok(world.run(9_000, () => world.a.has('reset')))
    assert.deepEqual(stream.state, {
      name: 'reset',
      by: 'peer',
      code: 'SERVICE_REFUSED',
      sentence: 'Nobody listens at 127.0.0.1:22.',
    })
    world.run(3_000)
    assert.equal(world.a.core.figures.streams + world.b.core.figures.streams, 0)
  }
})

test('a reader that sleeps holds up nobody else, and its writer waits in bounded memory', () => {
  const world = new TunnelWorld(new Prng(12), { delay: 10 })
  assert.ok(world.ready())
  const awake = { bytes: 0 }
  const sleepers = new Set<number>()
  world.b.onevent = (event) => {
    if (event.name === 'stream' && event.header.toString() === 'sleep') sleepers.add(event.stream.id)
    if ((event.name === 'stream' || event.name === 'readable') && !sleepers.has(event.stream.id)) {
      for (let data = event.stream.read(world.now); data; data = event.stream.read(world.now))
        awake.bytes += data.length
    }
  }
  const slow = Array.from({ length: 20 }, () => world.a.core.streams.open(Buffer.from('sleep')))
  for (const stream of slow) stream.write(Buffer.alloc(MIB))
  const fast = world.a.core.streams.open(Buffer.from('fast'))
  fast.write(Buffer.alloc(8 * MIB))
  world.pump(world.a)
  assert.ok(
    world.run(20_000, () => awake.bytes === 8 * MIB),
    `${awake.bytes}`,
  )
  for (const stream of slow)
    assert.ok(stream.send.unsent >= MIB - 64 * 1024, 'no more than the window was sent')
})

test('streams share the path evenly', () => {
  const world = new TunnelWorld(new Prng(13), { delay: 10, rate: 5_000, queue: 200_000 })
  const read = sinks(world, world.b)
  assert.ok(world.ready())
  for (let count = 0; count < 10; count++) world.a.core.streams.open(HEADER).write(Buffer.alloc(4 * MIB))
  world.pump(world.a)
  world.run(4_000)
  const lengths = [...read.values()].map(({ length }) => length)
  assert.ok(Math.min(...lengths) > 0.5 * Math.max(...lengths), lengths.join(' '))
})

test('datagrams of a flow stay datagrams; one that is too large is refused', () => {
  const world = new TunnelWorld(new Prng(14), { delay: 10, jitter: 5 })
  assert.ok(world.ready())
  world.run(1_000)
  const got: string[] = []
  let theirs: CoreFlow | undefined
  world.b.onevent = (event) => {
    if (event.name === 'flow') theirs = event.flow
    if (event.name === 'flow-data') got.push(event.data.toString())
  }
  const { flows } = world.a.core
  const flow = flows.open(HEADER)
  world.pump(world.a)
  world.run(100) // a datagram that overtakes the opening of its flow is lost
  for (let number = 0; number < 20; number++) assert.ok(flows.send(flow, Buffer.from(`datagram ${number}`)))
  const most = flows.maxPayload(flow)
  assert.ok(most > 1400, `${most}`)
  assert.equal(flows.send(flow, Buffer.alloc(most + 1)), false)
  assert.ok(flows.send(flow, Buffer.alloc(most, 'x')))
  assert.ok(flows.send(flow, Buffer.alloc(0)), 'an empty one is one too')
  world.pump(world.a)
  world.run(500)
  assert.equal(got.length, 22)
  assert.deepEqual(got.filter((text) => text.startsWith('d')).length, 20)
  assert.ok(got.includes('x'.repeat(most)) && got.includes(''))
  assert.deepEqual(theirs?.header, HEADER)
  world.b.core.flows.close(theirs ?? assert.fail('no flow'))
  world.pump(world.b)
  world.run(500)
  assert.equal(flow.state, 'closed')
  assert.equal(flows.send(flow, Buffer.alloc(1)), false)
})

test('a flow that sends more than the path takes starves no stream, and the other way round', () => {
  const world = new TunnelWorld(new Prng(15), { delay: 10, rate: 1_000, queue: 50_000 })
  const read = sinks(world, world.b)
  assert.ok(world.ready())
  const { flows, streams } = world.a.core
  const flow = flows.open(HEADER)
  const stream = streams.open(HEADER)
  stream.write(Buffer.alloc(20 * MIB))
  let datagrams = 0
  const take = world.b.onevent
  world.b.onevent = (event) => {
    if (event.name === 'flow-data') datagrams++
    else take?.(event)
  }
  const size = flows.maxPayload(flow)
  const end = world.now + 5_000
  const send = () => {
    flows.send(flow, Buffer.alloc(size))
    world.pump(world.a)
    if (world.now < end) world.at(world.now + 0.5, send)
  }
  send()
  world.run(5_000)
  assert.ok((read.get(stream.id)?.length ?? 0) > MIB, `${read.get(stream.id)?.length}`)
  assert.ok(datagrams * size > MIB, `${datagrams} datagrams`)
})

test('closing tells the peer, with the reason, and both are over', () => {
  const world = new TunnelWorld(new Prng(16), { delay: 10, loss: 0.1 })
  assert.ok(world.ready())
  const stream = world.b.core.streams.open(HEADER)
  world.pump(world.b)
  world.run(100)
  world.a.core.close(world.now, 'The user ended it.')
  world.pump(world.a)
  assert.ok(world.run(2_000, () => world.a.has('over') && world.b.has('over')))
  assert.deepEqual(world.a.events.at(-1), { name: 'over', ending: { name: 'closed' } })
  const ending = { name: 'peer-closed', sentence: 'The user ended it.' }
  assert.deepEqual(world.b.events.at(-1), { name: 'over', ending })
  assert.equal(stream.state.name, 'reset')
  assert.equal(world.a.core.due(world.now).at, Number.POSITIVE_INFINITY)
})

test('keys change with time towards a peer that renews none, and nothing is lost by it', () => {
  const world = new TunnelWorld(new Prng(17), { delay: 20, jitter: 10, loss: 0.01 }, 0, {
    b: { revision: 1 },
  })
  const read = sinks(world, world.b)
  assert.ok(world.ready())
  const stream = world.a.core.streams.open(HEADER)
  const packets = new Set<number>()
  world.onpassing = ({ from, data }) => {
    if (from === world.a && data[0] === 0x80) packets.add(Math.floor(data.readUIntBE(1, 6) / 2 ** 24))
    return true
  }
  for (let hour = 0; hour < 5; hour++) {
    for (let chunk = 0; chunk < 20; chunk++) {
      world.at(world.now + hour * 3_600_000 + chunk * 10, () => {
        stream.write(Buffer.alloc(5_000, hour))
        world.pump(world.a)
      })
    }
  }
  world.run(5 * 3_600_000)
  assert.equal(read.get(stream.id)?.length, 5 * 20 * 5_000)
  assert.ok(packets.size >= 4, `${packets.size} generations`)
})

for (const [name, weather, share] of [
  ['20 ms', { delay: 10, rate: 12_500, queue: 125_000 }, 0.85],
  ['100 ms', { delay: 50, rate: 12_500, queue: 500_000 }, 0.7],
  ['20 ms with 1% loss', { delay: 10, rate: 12_500, queue: 125_000, loss: 0.01 }, 0.8],
  [
    '20 ms, between machines so busy that a process gets a turn each 20 ms',
    { delay: 10, rate: 12_500, queue: 500_000, turns: 20 },
    0.75,
  ],
  ['20 ms with 1% reordered', { delay: 10, rate: 12_500, queue: 125_000, duplication: 0.01, jitter: 2 }, 0.8],
] as const) {
  test(`one stream fills a link of 100 Mbit/s and ${name}`, () => {
    const world = new TunnelWorld(new Prng(22), weather)
    const read = { bytes: 0 }
    world.b.onevent = (event) => {
      if (event.name !== 'stream' && event.name !== 'readable') return
      for (let data = event.stream.read(world.now); data; data = event.stream.read(world.now))
        read.bytes += data.length
    }
    assert.ok(world.ready())
    world.a.core.streams.open(HEADER).write(Buffer.alloc(64 * MIB))
    world.pump(world.a)
    world.run(4_000)
    assert.ok(read.bytes > share * 12_500 * 4_000, `${Math.round((read.bytes * 8) / 4_000_000)} Mbit/s`)
  })
}

test('the same key serves two tunnels in a row, and nothing of the first counts in the second', () => {
  const first = new TunnelWorld(new Prng(18))
  const recorded: Buffer[] = []
  first.onpassing = ({ from, data }) => {
    if (from === first.a) recorded.push(data)
    return true
  }
  assert.ok(first.ready())
  first.a.core.streams.open(HEADER).write(Buffer.from('rm -rf'))
  first.pump(first.a)
  first.run(1_000)
  assert.ok(first.b.has('stream'))
  const second = new TunnelWorld(new Prng(19))
  const answered: number[] = []
  second.onpassing = ({ from }) => {
    if (from === second.b) answered.push(second.now)
    return true
  }
  for (const data of recorded) second.inject(second.b, data, ADDRESS.a)
  assert.ok(second.ready(), 'a replay before the peer is no hindrance')
  for (const data of recorded) second.inject(second.b, data, ADDRESS.a)
  second.run(20_000)
  assert.ok(!second.b.has('stream') && !second.b.has('over'))
  assert.deepEqual(KEY, Buffer.alloc(32, 0x5a), 'the key of the caller is left alone')
})
