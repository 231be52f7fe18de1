import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Endpoint, sameEndpoint } from '../../src/net/index.js'
import { HEADER_LENGTH, type Sealer, TAG_LENGTH } from '../../src/wormhole/tunnel/cipher.js'
import { Connection } from '../../src/wormhole/tunnel/connection.js'
import { FrameWriter } from '../../src/wormhole/tunnel/frame.js'
import { Greeter } from '../../src/wormhole/tunnel/greeting.js'
import { Handshake } from '../../src/wormhole/tunnel/handshake.js'
import { Prng } from './prng.js'
import { ADDRESS, KEY, type Passing, sinks, TunnelWorld } from './tunnel.js'

const HEADER = Buffer.from('a service')
const VICTIM: Endpoint = { address: '198.51.100.9', port: 53 }
const MIB = 2 ** 20

/** A tunnel that carries `bytes`, and what came of it. */
function transfer(world: TunnelWorld, prng: Prng, bytes: number) {
  const read = sinks(world, world.b)
  assert.ok(world.ready())
  const data = prng.bytes(bytes)
  const stream = world.a.core.streams.open(HEADER)
  stream.write(data)
  stream.end()
  world.pump(world.a)
  return {
    complete: (ms = 60_000) => world.run(ms, () => read.get(stream.id)?.ended === true),
    right: () => read.get(stream.id)?.bytes.equals(data) === true,
  }
}

/** Everything that was sent to an address. */
function watch(world: TunnelWorld, address: Endpoint): Passing[] {
  const seen: Passing[] = []
  world.onpassing = (passing) => {
    if (sameEndpoint(passing.to, address)) seen.push(passing)
    return true
  }
  return seen
}

test('garbage and forgeries under the address of the peer change nothing, and nothing answers them', () => {
  const prng = new Prng(1)
  const world = new TunnelWorld(prng, { delay: 10 })
  const { complete, right } = transfer(world, prng, 2 * MIB)
  const answered = watch(world, VICTIM)
  const spray = () => {
    for (const side of [world.a, world.b]) {
      const peer = ADDRESS[side.name === 'a' ? 'b' : 'a']
      for (const from of [peer, VICTIM]) {
        for (const first of [0x00, 0x40, 0x80, prng.integer(0, 255)]) {
          const data = prng.bytes(prng.integer(0, 3) === 0 ? 128 : prng.integer(1, 1500))
          data[0] = first
          // a packet number that could be one
          if (data.length > 7) data.writeUIntBE(prng.integer(0, 3) * 2 ** 24 + prng.integer(0, 5000), 1, 6)
          side.core.receive(world.now, data, from)
        }
      }
      world.pump(side)
    }
    if (world.now < 3_000) world.at(world.now + 1, spray)
  }
  spray()
  assert.ok(complete())
  assert.ok(right())
  world.run(3_000)
  assert.equal(answered.length, 0)
  assert.ok(!world.a.has('over') && !world.b.has('over') && !world.a.has('moved') && !world.b.has('moved'))
})

test('what was recorded and is sent again is dropped unseen', () => {
  const prng = new Prng(2)
  const world = new TunnelWorld(prng, { delay: 10, loss: 0.01 })
  const recorded: Passing[] = []
  world.onpassing = (passing) => {
    recorded.push(passing)
    return true
  }
  const { complete, right } = transfer(world, prng, MIB)
  assert.ok(complete())
  world.run(1_000)
  const answered = watch(world, VICTIM)
  const before = { a: world.a.core.figures.packetsIn, b: world.b.core.figures.packetsIn }
  const lost = { a: world.a.core.figures.packetsIn, b: world.b.core.figures.packetsIn }
  for (const { from, data } of recorded) {
    const target = from === world.a ? world.b : world.a
    for (const source of [from.address, VICTIM]) {
      world.inject(target, data, source)
      lost[target.name] = target.core.figures.packetsIn
    }
  }
  // what had been lost on its way may still count, once; it is old, so that nobody is asked whether he moved
  assert.ok(lost.a - before.a + lost.b - before.b <= recorded.length * 0.03)
  assert.equal(answered.length, 0)
  assert.ok(right())
  assert.ok(!world.a.has('moved') && !world.b.has('moved'))
})

test('altering any bit of a datagram makes it nothing', () => {
  const prng = new Prng(3)
  const world = new TunnelWorld(prng, { delay: 5 })
  world.onpassing = ({ from, data }) => {
    if (!prng.chance(0.1)) return true
    const bit = prng.integer(0, data.length * 8 - 1)
    data[bit >> 3] = (data[bit >> 3] as number) ^ (1 << (bit & 7))
    const target = from === world.a ? world.b : world.a
    world.at(world.now + 5, () => world.inject(target, data, from.address))
    return false
  }
  const { complete, right } = transfer(world, prng, MIB)
  assert.ok(complete())
  assert.ok(right())
})

test('a peer whose address changes is followed after a challenge; the stream goes on', () => {
  for (const moving of ['a', 'b'] as const) {
    const prng = new Prng(4)
    const world = new TunnelWorld(prng, { delay: 10 })
    const { complete, right } = transfer(world, prng, 8 * MIB)
    world.run(100)
    const elsewhere = { address: '203.0.113.7', port: 40_000 }
    world[moving].address = elsewhere
    const other = world[moving === 'a' ? 'b' : 'a']
    assert.ok(complete())
    assert.ok(right())
    assert.deepEqual(other.core.remote, elsewhere)
    assert.ok(!world[moving].has('moved'), 'whoever moves sees nothing of it')
  }
})

test('an idle peer whose address changes is found by its keep-alive, also when the other side speaks first', () => {
  const world = new TunnelWorld(new Prng(5), { delay: 10 })
  const read = sinks(world, world.a)
  assert.ok(world.ready())
  world.run(30_000)
  world.a.address = { address: '203.0.113.7', port: 40_000 }
  const stream = world.b.core.streams.open(HEADER)
  stream.write(Buffer.from('are you there?'))
  world.pump(world.b)
  assert.ok(world.run(11_000, () => read.get(stream.id)?.length === 14))
  assert.deepEqual(world.b.core.remote, world.a.address)
})

test('somebody who sends copies on from elsewhere gets challenges, never longer than a copy, and diverts nothing', () => {
  const prng = new Prng(6)
  const world = new TunnelWorld(prng, { delay: 10 })
  const { complete, right } = transfer(world, prng, 4 * MIB)
  let copied = 0
  let smallest = Number.POSITIVE_INFINITY
  const answered: Passing[] = []
  world.onpassing = (passing) => {
    if (sameEndpoint(passing.to, VICTIM)) answered.push(passing)
    else if (passing.from === world.a && prng.chance(0.3)) {
      copied++
      smallest = Math.min(smallest, passing.data.length)
      // it arrives before the original
      world.at(world.now + 1, () => world.inject(world.b, passing.data, VICTIM))
    }
    return true
  }
  assert.ok(complete())
  assert.ok(right())
  assert.ok(copied > 100)
  assert.ok(answered.length > 0 && answered.length <= copied, `${answered.length} for ${copied}`)
  for (const { data } of answered) assert.ok(data.length <= smallest, `${data.length} for ${smallest}`)
  assert.deepEqual(world.b.core.remote, ADDRESS.a)
  assert.ok(!world.b.has('moved'))
})

test('a recorded HELLO is answered with as much, at most ten times a second, and starts nothing', () => {
  const first = new TunnelWorld(new Prng(7))
  const hellos: Buffer[] = []
  first.onpassing = ({ from, data }) => {
    if (from === first.a && data.length === 128) hellos.push(data)
    return true
  }
  assert.ok(first.ready())
  const second = new TunnelWorld(new Prng(8))
  second.a.started = false
  second.a.core.close(0, '')
  const answered = watch(second, VICTIM)
  for (let count = 0; count < 1_000; count++) {
    second.at(count, () => second.inject(second.b, hellos[0] as Buffer, VICTIM))
  }
  second.run(1_000)
  assert.ok(answered.length <= 11, `${answered.length}`)
  assert.ok(answered.every(({ data }) => data.length <= 128))
  second.run(20_000)
  assert.deepEqual(second.b.events, [{ name: 'over', ending: { name: 'silent' } }])
})

test('an authentic peer that breaks the protocol ends its tunnel, and nothing else', () => {
  const world = new TunnelWorld(new Prng(9))
  assert.ok(world.ready())
  const stream = world.a.core.streams.open(HEADER)
  stream.send.allow(100 * MIB) // it sends more than it may
  stream.write(Buffer.alloc(MIB))
  world.pump(world.a)
  assert.ok(world.run(5_000, () => world.b.has('over') && world.a.has('over')))
  const last = world.b.events.at(-1)
  assert.ok(last?.name === 'over' && last.ending.name === 'failed')
})

/** A responder, and the sealer of an initiator that has its key and means no good. */
function captured(prng: Prng): { victim: Connection; sealer: Sealer } {
  const { bytes: random } = prng
  const victim = new Connection({ initiator: false, key: KEY, remote: ADDRESS.a, random }, 0)
  const options = { initiator: true, random, remote: ADDRESS.b }
  const handshake = new Handshake(options, new Greeter({ initiator: true, key: KEY, random }), 0)
  handshake.tick(0)
  for (const { data } of handshake.transmits()) victim.receive(0, data, ADDRESS.a)
  const answers: Buffer[] = []
  victim.transmit(0, (data) => answers.push(data))
  for (const data of answers) {
    const outcome = handshake.receive(0, data, ADDRESS.b)
    if (outcome.name !== 'done') continue
    victim.receive(0, outcome.confirmation?.() ?? assert.fail('no CONFIRM'), ADDRESS.a)
    return { victim, sealer: outcome.keys.sealer }
  }
  return assert.fail('no welcome')
}

test('whatever an authentic peer sends, nothing is thrown, and what is held stays bounded', () => {
  const prng = new Prng(10)
  const id = () => prng.integer(0, prng.chance(0.9) ? 8 : 40_000)
  const number = () => (prng.chance(0.9) ? prng.integer(0, 70_000) : prng.integer(0, 2 ** 50))
  const frames: ((writer: FrameWriter) => void)[] = [
    (writer) => writer.ping(),
    (writer) => writer.ack(1, () => [prng.integer(3, 9), prng.integer(0, 3)], 1),
    (writer) => writer.challenge(prng.bytes(8)),
    (writer) => writer.response(prng.bytes(8)),
    (writer) => writer.reset(id(), prng.integer(0, 255), prng.bytes(9)),
    (writer) => writer.window(id(), number()),
    (writer) => writer.flowOpen(id(), prng.bytes(prng.integer(0, 100))),
    (writer) => writer.flowData(id(), prng.bytes(prng.integer(0, 100))),
    (writer) => writer.flowClose(id()),
    (writer) => {
      const length = prng.integer(0, 100)
      writer.stream(id(), prng.chance(0.5) ? 0 : number(), length, prng.chance(0.2))
      writer.at += length
    },
    (writer) => {
      writer.target[writer.at++] = prng.integer(0, 255)
    },
  ]
  const seen = new Set<string>()
  for (let run = 0; run < 1_000; run++) {
    const { victim, sealer } = captured(prng)
    for (let packet = 0; packet < 40 && victim.state !== 'over'; packet++) {
      const datagram = Buffer.alloc(1_200)
      const writer = new FrameWriter(datagram, HEADER_LENGTH, datagram.length - TAG_LENGTH)
      const kinds = run % 2 === 0 ? frames.length - 1 : frames.length
      const count = prng.integer(1, 4)
      for (let frame = 0; frame < count; frame++) frames[prng.integer(0, kinds - 1)]?.(writer)
      sealer.seal(datagram, packet)
      victim.receive(packet, datagram, ADDRESS.a)
      victim.tick(packet)
      while (victim.transmit(packet, () => {}));
      for (const event of victim.events()) seen.add(event.name)
      assert.ok(victim.figures.streams <= 4_096 && victim.figures.flows <= 4_096)
    }
  }
  for (const name of ['ready', 'over', 'flow', 'flow-closed', 'readable', 'reset'])
    assert.ok(seen.has(name), name)
})

test('an authentic peer that has everything refused, and acknowledges nothing, ends its tunnel', () => {
  const { victim, sealer } = captured(new Prng(11))
  const header = Buffer.from([0, 0])
  let id = 0
  for (let packet = 0; packet < 2_000 && victim.state !== 'over'; packet++) {
    const datagram = Buffer.alloc(1_200)
    const writer = new FrameWriter(datagram, HEADER_LENGTH, datagram.length - TAG_LENGTH)
    for (; writer.left > 20; id += 2) {
      writer.stream(id, 0, header.length, false)
      header.copy(writer.target, writer.at)
      writer.at += header.length
    }
    writer.pad()
    sealer.seal(datagram, packet)
    victim.receive(packet, datagram, ADDRESS.a)
    while (victim.transmit(packet, () => {}));
    for (const event of victim.events()) {
      if (event.name === 'stream') event.stream.reset('SERVICE_UNKNOWN', 'No.')
      if (event.name === 'over') assert.equal(event.ending.name, 'failed')
    }
  }
  assert.equal(victim.state, 'over')
})

/** Seals what `write` writes, and gives it to the victim. */
function say(victim: Connection, sealer: Sealer, packet: number, write: (writer: FrameWriter) => void): void {
  const datagram = Buffer.alloc(1_200)
  write(new FrameWriter(datagram, HEADER_LENGTH, datagram.length - TAG_LENGTH))
  sealer.seal(datagram, packet)
  victim.receive(packet, datagram, ADDRESS.a)
}

test('a datagram has one acknowledgement: with a second one its tunnel ends', () => {
  for (const count of [1, 2]) {
    const { victim, sealer } = captured(new Prng(12))
    while (victim.transmit(0, () => {}));
    say(victim, sealer, 0, (writer) => {
      for (let each = 0; each < count; each++) writer.ack(1, () => [0, 0], 1)
    })
    assert.equal(victim.state, count === 1 ? 'open' : 'over')
  }
})

test('a peer that speaks and acknowledges nothing has little remembered, however long it goes on', () => {
  const { victim, sealer } = captured(new Prng(13))
  let sent = 0
  for (let packet = 0; packet < 120_000; packet += 2) {
    // a gap before each, so that it is acknowledged at once
    say(victim, sealer, packet, (writer) => {
      writer.ping()
      writer.pad()
    })
    victim.tick(packet)
    while (victim.transmit(packet, () => sent++));
  }
  const { inflight, window } = victim.figures.congestion
  assert.equal(victim.state, 'open')
  assert.ok(sent > 10_000, `${sent} acknowledgements`)
  assert.ok(inflight <= window + 1_000 * 48, `${inflight} bytes under way, the window is ${window}`)
})
