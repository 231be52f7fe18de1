import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fixture, patience, skip } from './fixture.js'
import { measureBehaviour, portMapperUnavailable, type RemoteSocket, type Side } from './index.js'

const fixture = new Fixture()

let questions = 0

/** The endpoint of a socket as a server sees it. */
async function reflexive(socket: RemoteSocket, server: RemoteSocket, address = fixture.address(0)) {
  const text = `reflexive ${++questions}`
  await socket.send(text, { address, port: server.port })
  return (await server.receive(text, patience())).from
}

/** Whether two sockets behind one NAT hear each other at their public endpoints, when both have sent. */
async function turnedBack(one: RemoteSocket, other: RemoteSocket): Promise<boolean> {
  const server = await fixture.server.open(fixture.address(0))
  const [a, b] = [await reflexive(one, server), await reflexive(other, server)]
  // the first opens the filter for the second, and is itself not let in yet
  await one.send('opening', b)
  await other.send('there', a)
  await one.send('and back', b)
  await server.send('sentinel', a)
  await one.receive('sentinel', patience())
  await server.send('sentinel', b)
  await other.receive('sentinel', patience())
  await server.close()
  const there = one.received.find(({ text }) => text === 'there')
  if (there) assert.deepEqual(there.from, b, 'the source is the public endpoint (RFC 4787 REQ-9)')
  return there !== undefined && other.has('and back')
}

/** A second host in the LAN of a side. */
async function neighbour(side: Side) {
  return await fixture.place(side.type, { sameLanAs: side })
}

for (const type of ['full-cone', 'port-restricted'] as const) {
  test(`hairpin: a ${type} NAT turns back what is meant for its own, or does not`, { skip }, async () => {
    for (const hairpin of [true, false]) {
      const a = await fixture.place(type, { hairpin })
      const b = await neighbour(a.side)
      const [one, other, own] = await Promise.all([a.agent.open(), b.agent.open(), a.agent.open()])
      assert.equal(await turnedBack(one, other), hairpin, 'between two hosts')
      assert.equal(await turnedBack(own, await a.agent.open()), hairpin, 'within one host')
      await Promise.all([a.agent.stop(), b.agent.stop()])
    }
  })
}

test('hairpin: a NAT that turns back does what it did to everybody else', { skip }, async () => {
  const { agent } = await fixture.place('port-restricted', { hairpin: true })
  const measured = await measureBehaviour(agent, fixture.server, [
    fixture.address(0),
    fixture.address(1),
    fixture.address(2),
  ])
  assert.deepEqual(measured, {
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
    preserved: false,
  })
  await agent.stop()
})

test('one carrier NAT: two routers behind it have one public address, and meet through it or not', {
  skip,
}, async () => {
  for (const hairpin of [true, false]) {
    const a = await fixture.place('double', { hairpin })
    const b = await fixture.place('double', { sameCarrierAs: a.side })
    assert.equal(b.side.nats[0], a.side.nats[0])
    assert.notEqual(b.side.nats[1], a.side.nats[1])
    const [one, other] = await Promise.all([a.agent.open(), b.agent.open()])
    const server = await fixture.server.open(fixture.address(0))
    const [seenA, seenB] = [await reflexive(one, server), await reflexive(other, server)]
    assert.equal(seenA.address, a.side.publicAddress)
    assert.equal(seenB.address, a.side.publicAddress)
    assert.notEqual(seenA.port, seenB.port)
    assert.equal(await turnedBack(one, other), hairpin)
    await Promise.all([server.close(), a.agent.stop(), b.agent.stop()])
  }
})

test('several public addresses: mappings get different ones, whatever the kind of mapping', {
  skip,
}, async () => {
  for (const type of ['port-restricted', 'symmetric'] as const) {
    const { agent, side } = await fixture.place(type, { publicAddresses: 4 })
    assert.equal(side.publicAddresses.length, 4)
    const [server, stranger] = await Promise.all([
      fixture.server.open(fixture.address(0)),
      fixture.server.open(fixture.address(1)),
    ])
    const seen = new Set<string>()
    for (let n = 0; n < 24; n++) {
      const socket = await agent.open()
      const mapped = await reflexive(socket, server)
      seen.add(mapped.address)
      if (type === 'port-restricted')
        assert.deepEqual(await reflexive(socket, stranger, fixture.address(1)), mapped)
      await server.send('back', mapped)
      await socket.receive('back', patience())
    }
    assert.ok(seen.size > 1, [...seen].join(' '))
    for (const address of seen) assert.ok(side.publicAddresses.includes(address))
    await Promise.all([server.close(), stranger.close(), agent.stop()])
  }
})

/** Two hosts with IPv6, a socket each. */
async function pair6(ipv6: 'firewall' | 'only' | 'only-firewall') {
  const a = await fixture.place('port-restricted', { ipv6 })
  const b = await fixture.place('port-restricted', { ipv6 })
  const { address6: addressA } = a.side
  const { address6: addressB } = b.side
  assert.ok(addressA !== undefined && addressB !== undefined)
  const [one, other] = await Promise.all([a.agent.open(addressA), b.agent.open(addressB)])
  const close = async () => {
    await Promise.all([a.agent.stop(), b.agent.stop()])
  }
  return {
    a,
    b,
    one,
    other,
    endpointA: { address: addressA, port: one.port },
    endpointB: { address: addressB, port: other.port },
    close,
  }
}

test('IPv6 behind a stateful firewall: nobody comes in who was not spoken to', { skip }, async () => {
  const { b, one, other, endpointA, endpointB, close } = await pair6('firewall')
  const arrivals = await fixture.lab.capture(b.side.border, `udp and port ${endpointB.port}`)
  await one.send('unasked', endpointB)
  await arrivals.packet(({ payload }) => payload.toString() === 'unasked', patience())
  await other.send('hello', endpointA)
  // the first packet of this side has opened its own firewall
  assert.deepEqual((await one.receive('hello', patience())).from, endpointB)
  await one.send('hello yourself', endpointB)
  assert.deepEqual((await other.receive('hello yourself', patience())).from, endpointA)
  assert.equal(other.has('unasked'), false)
  await arrivals.stop()
  await close()
})

test('IPv6 only: a host without IPv4, with and without a firewall', { skip }, async () => {
  for (const ipv6 of ['only', 'only-firewall'] as const) {
    const { a, one, other, endpointA, endpointB, close } = await pair6(ipv6)
    assert.equal(a.side.address, a.side.address6)
    assert.equal(a.side.publicAddress, a.side.address6)
    const { stdout } = await a.side.exec('ip', ['-4', 'addr', 'show', 'dev', 'eth0'])
    assert.equal(stdout, '')
    await one.send('first', endpointB)
    await other.send('second', endpointA)
    await one.receive('second', patience())
    await one.send('third', endpointB)
    await other.receive('third', patience())
    assert.equal(other.has('first'), ipv6 === 'only')
    await close()
  }
})

const skipMapper = skip || (portMapperUnavailable() ?? false)

/** Asks the router for a mapping of a port, as NAT-PMP has it (RFC 6886 section 3.3), and tells the outside port. */
async function natPmp(side: Side, internal: number, lifetime: number): Promise<number> {
  const request = Buffer.alloc(12)
  request.writeUInt8(1, 1)
  request.writeUInt16BE(internal, 4)
  request.writeUInt16BE(lifetime === 0 ? 0 : internal, 6)
  request.writeUInt32BE(lifetime, 8)
  const gateway = side.address.replace(/\d+$/, '1')
  const script = `const s=require('dgram').createSocket('udp4');s.on('message',m=>{process.stdout.write(m.toString('hex'));s.close()});s.send(Buffer.from('${request.toString('hex')}','hex'),5351,'${gateway}')`
  const { stdout, stderr } = await side.exec(process.execPath, ['-e', script], { signal: patience() })
  const answer = Buffer.from(stdout, 'hex')
  assert.equal(answer.length, 16, stderr)
  assert.equal(answer.readUInt16BE(2), 0, `NAT-PMP result ${answer.readUInt16BE(2)}`)
  return answer.readUInt16BE(10)
}

for (const type of ['symmetric', 'port-restricted'] as const) {
  test(`a port mapper on a ${type} router lets strangers in to what was mapped, and to nothing else`, {
    skip: skipMapper,
  }, async () => {
    const { agent, side } = await fixture.place(type, { portMapper: 'both' })
    const mapper = fixture.lab.portMapper(side)
    const [mapped, unmapped] = await Promise.all([agent.open(), agent.open()])
    const server = await fixture.server.open(fixture.address(0))
    const outside = await natPmp(side, mapped.port, 3600)
    assert.deepEqual(await mapper.mappings(), [
      { externalPort: outside, internal: { address: side.address, port: mapped.port } },
    ])
    const seen = await reflexive(unmapped, server)
    const stranger = await fixture.server.open(fixture.address(1))
    await stranger.send('unasked', seen)
    await stranger.send('for the mapping', { address: side.publicAddress, port: outside })
    const { from } = await mapped.receive('for the mapping', patience())
    await mapped.send('answer', from)
    assert.deepEqual((await stranger.receive('answer', patience())).from, {
      address: side.publicAddress,
      port: outside,
    })
    assert.equal(unmapped.has('unasked'), false)
    await natPmp(side, mapped.port, 0)
    assert.deepEqual(await mapper.mappings(), [])
    await Promise.all([server.close(), stranger.close(), agent.stop()])
  })
}
