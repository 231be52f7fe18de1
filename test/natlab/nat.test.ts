import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fixture, patience, skip, until } from './fixture.js'
import {
  type Behaviour,
  measureBehaviour,
  type RemoteSocket,
  type SideType,
  type SocketAgent,
} from './index.js'

const fixture = new Fixture()

const ANY = 'endpoint-independent'
const ADDRESS = 'address-dependent'
const PORT = 'address-and-port-dependent'

const NAMED: Record<Exclude<SideType, 'udp-blocked'>, Behaviour> = {
  public: { mapping: ANY, filtering: ANY, preserved: true },
  'full-cone': { mapping: ANY, filtering: ANY, preserved: false },
  'address-restricted': { mapping: ANY, filtering: ADDRESS, preserved: false },
  'port-restricted': { mapping: ANY, filtering: PORT, preserved: false },
  'address-dependent-mapping': { mapping: ADDRESS, filtering: PORT, preserved: false },
  symmetric: { mapping: PORT, filtering: PORT, preserved: false },
  'symmetric-sequential': { mapping: PORT, filtering: PORT, preserved: false },
  'open-router': { mapping: ANY, filtering: PORT, preserved: true },
  blacklisting: { mapping: ANY, filtering: PORT, preserved: false },
  firewall: { mapping: ANY, filtering: PORT, preserved: true },
  double: { mapping: ANY, filtering: PORT, preserved: false },
}

let questions = 0

/** The endpoint of a socket as a server sees it. */
async function reflexive(socket: RemoteSocket, server: RemoteSocket, address: string) {
  const text = `reflexive ${++questions}`
  await socket.send(text, { address, port: server.port })
  return (await server.receive(text, patience())).from
}

for (const [type, expected] of Object.entries(NAMED) as [SideType, Behaviour][]) {
  test(`${type}: ${expected.mapping} mapping, ${expected.filtering} filtering`, { skip }, async () => {
    const { agent, side } = await fixture.place(type)
    const addresses = [fixture.address(0), fixture.address(1), fixture.address(2)] as const
    assert.deepEqual(await measureBehaviour(agent, fixture.server, [...addresses]), expected)
    if (type === 'blacklisting') await fixture.lab.flush()
    const again = await measureBehaviour(agent, fixture.server, [...addresses])
    assert.deepEqual(again, expected, 'what came unasked the first time changes nothing')
    const socket = await agent.open()
    const server = await fixture.server.open(fixture.address(2))
    const seen = await reflexive(socket, server, fixture.address(2))
    assert.equal(seen.address, side.publicAddress)
    assert.equal(side.address === side.publicAddress, type === 'public' || type === 'firewall')
    await server.close()
    await agent.stop()
  })
}

test('udp-blocked: nothing gets out, and a router is not the reason', { skip }, async () => {
  const { agent, side } = await fixture.place('udp-blocked')
  const { agent: neighbour, side: beside } = await fixture.place('udp-blocked', { sameLanAs: side })
  const [socket, other] = await Promise.all([agent.open(), neighbour.open()])
  const server = await fixture.server.open(fixture.address(0))
  await socket.send('out', { address: fixture.address(0), port: server.port })
  await socket.send('beside', { address: beside.address, port: other.port })
  await other.receive('beside', patience())
  const echo = await side.exec('ping', ['-c', '1', '-W', '5', fixture.address(0)])
  assert.equal(echo.status, 0, echo.stdout)
  assert.equal(server.has('out'), false)
  await Promise.all([server.close(), agent.stop(), neighbour.stop()])
})

/** The outside ports of one socket towards 32 ports of a server, in the order of first use. */
async function outsidePorts(agent: SocketAgent): Promise<number[]> {
  const socket = await agent.open()
  const ports: number[] = []
  const servers: RemoteSocket[] = []
  for (let i = 0; i < 32; i++) {
    // none is closed before the end: a port that comes back has its mapping already
    const server = await fixture.server.open(fixture.address(0))
    servers.push(server)
    ports.push((await reflexive(socket, server, fixture.address(0))).port)
  }
  await Promise.all(servers.map((server) => server.close()))
  return ports
}

test('symmetric: the ports of 32 mappings are spread at random', { skip }, async () => {
  const { agent } = await fixture.place('symmetric')
  const ports = await outsidePorts(agent)
  const steps = ports.slice(1).map((port, i) => Math.abs(port - (ports[i] ?? 0)))
  // of 31 steps between random ports out of 64,512 one in 3,500 is shorter than 10
  assert.ok(steps.filter((step) => step < 10).length <= 3, `${ports}`)
  assert.ok(Math.max(...ports) - Math.min(...ports) > 20_000, `${ports}`)
  await agent.stop()
})

test('symmetric-sequential: the ports of 32 mappings follow one another', { skip }, async () => {
  const { agent } = await fixture.place('symmetric-sequential')
  const ports = await outsidePorts(agent)
  assert.deepEqual(
    ports,
    ports.map((_, i) => (ports[0] ?? 0) + i),
  )
  await agent.stop()
})

test('symmetric-sequential: the step is the one that was asked for', { skip }, async () => {
  for (const step of [4, -2]) {
    const { agent } = await fixture.place('symmetric-sequential', { step })
    const ports = await outsidePorts(agent)
    assert.deepEqual(
      ports,
      ports.map((_, i) => (ports[0] ?? 0) + i * step),
    )
    await agent.stop()
  }
})

test('address-dependent-mapping: the ports of 16 sockets are spread, and each keeps its own', {
  skip,
}, async () => {
  const { agent } = await fixture.place('address-dependent-mapping', { mappingTimeout: 2 })
  const server = await fixture.server.open(fixture.address(0))
  const sockets = await Promise.all(Array.from({ length: 16 }, () => agent.open()))
  const seen = await Promise.all(sockets.map((socket) => reflexive(socket, server, fixture.address(0))))
  const ports = seen.map(({ port }) => port)
  assert.equal(new Set(ports).size, 16)
  assert.ok(Math.max(...ports) - Math.min(...ports) > 10_000, `${ports}`)
  // what goes out keeps it, on another port of the server too, for longer than it would last
  const [socket] = sockets
  assert.ok(socket)
  const end = performance.now() + 3000
  await until(async () => {
    const next = await fixture.server.open(fixture.address(0))
    assert.equal((await reflexive(socket, next, fixture.address(0))).port, ports[0])
    await next.close()
    return performance.now() > end
  })
  await Promise.all([server.close(), agent.stop()])
})

test('a mapping ends when only inbound traffic uses it', { skip }, async () => {
  const { agent } = await fixture.place('port-restricted', { mappingTimeout: 1 })
  const [socket, other] = await Promise.all([agent.open(), agent.open()])
  const server = await fixture.server.open(fixture.address(0))
  const mapped = await reflexive(socket, server, fixture.address(0))
  await server.send('at once', mapped)
  await socket.receive('at once', patience())
  let round = 0
  await until(async () => {
    round++
    await server.send(`inbound ${round}`, mapped)
    // a fresh mapping beside it shows when the datagram before has come or will not come any more
    const beside = await reflexive(other, server, fixture.address(0))
    await server.send(`beside ${round}`, beside)
    await other.receive(`beside ${round}`, patience())
    return !socket.has(`inbound ${round}`)
  })
  await server.close()
  await agent.stop()
})

test('flush: every mapping is forgotten', { skip }, async () => {
  const { agent } = await fixture.place('full-cone')
  const [socket, other] = await Promise.all([agent.open(), agent.open()])
  const server = await fixture.server.open(fixture.address(0))
  const mapped = await reflexive(socket, server, fixture.address(0))
  await fixture.lab.flush()
  await server.send('after', mapped)
  await server.send('sentinel', await reflexive(other, server, fixture.address(0)))
  await other.receive('sentinel', patience())
  assert.equal(socket.has('after'), false)
  await server.close()
  await agent.stop()
})

test('blacklisting: a peer that comes unasked is cut off both ways, for a while', { skip }, async () => {
  const { agent } = await fixture.place('blacklisting', { banTime: 1 })
  const { agent: peerAgent, side: peerSide } = await fixture.place('public')
  const socket = await agent.open()
  const [peer, stranger] = await Promise.all([peerAgent.open(), peerAgent.open()])
  const server = await fixture.server.open(fixture.address(0))
  const peerEndpoint = { address: peerSide.publicAddress, port: peer.port }
  const mapped = await reflexive(socket, peer, peerSide.publicAddress)
  await peer.send('asked', mapped)
  await socket.receive('asked', patience())

  await stranger.send('unasked', mapped)
  await peer.send('in', mapped)
  await socket.send('out', peerEndpoint)
  await server.send('sentinel', await reflexive(socket, server, fixture.address(0)))
  await socket.receive('sentinel', patience())
  await server.send('sentinel', peerEndpoint)
  await peer.receive('sentinel', patience())
  assert.equal(socket.has('unasked') || socket.has('in'), false)
  assert.equal(peer.has('out'), false)

  await until(async () => {
    await socket.send('after the ban', peerEndpoint)
    return peer.has('after the ban')
  })
  await server.close()
  await Promise.all([agent.stop(), peerAgent.stop()])
})

test('blacklisting: who is spared is refused, but not banned', { skip }, async () => {
  const { agent } = await fixture.place('blacklisting', { spared: [`${fixture.address(0)}/32`] })
  const socket = await agent.open()
  const [server, stranger] = await Promise.all([
    fixture.server.open(fixture.address(0)),
    fixture.server.open(fixture.address(0)),
  ])
  const mapped = await reflexive(socket, server, fixture.address(0))
  await stranger.send('unasked', mapped)
  await server.send('asked', mapped)
  await socket.receive('asked', patience())
  assert.equal(socket.has('unasked'), false)
  await Promise.all([server.close(), stranger.close(), agent.stop()])
})

/** A port-restricted side and another one, each with a socket, and what they look like from outside. */
async function pair(type: SideType) {
  const a = await fixture.place('port-restricted')
  const b = await fixture.place(type)
  const [socketA, socketB] = await Promise.all([a.agent.open(), b.agent.open()])
  const server = await fixture.server.open(fixture.address(0))
  const endpointA = await reflexive(socketA, server, fixture.address(0))
  const endpointB = await reflexive(socketB, server, fixture.address(0))
  const arrivals = await fixture.lab.capture(b.side.border, `udp and port ${endpointB.port}`)
  const close = async () => {
    await Promise.all([arrivals.stop(), server.close(), a.agent.stop(), b.agent.stop()])
  }
  /** Resolves when all that was sent to `socketA` before has come, or been refused. */
  const settled = async () => {
    await server.send('sentinel', endpointA)
    await socketA.receive('sentinel', patience())
  }
  return { a, b, socketA, socketB, endpointA, endpointB, arrivals, settled, close }
}

test('open-router: a packet that comes unasked moves the mapping to another port', { skip }, async () => {
  const { b, socketA, socketB, endpointA, endpointB, arrivals, settled, close } = await pair('open-router')
  await socketA.send('unasked', endpointB)
  await arrivals.packet((packet) => packet.payload.toString() === 'unasked', patience())
  await socketB.send('answer', endpointA)
  // the capture is for the old port: the answer leaves from another one, and so the peer's NAT refuses it
  const nat = b.side.nats[0]
  assert.ok(nat)
  await until(async () => {
    const { stdout } = await nat.exec('conntrack', ['-L', '-p', 'udp', '-s', b.side.address])
    const reply = stdout.split('\n').find((line) => line.includes(`dst=${endpointA.address} `))
    const outside = /dport=\d+ .*dport=(\d+)/.exec(reply ?? '')?.[1]
    return outside !== undefined && Number(outside) !== endpointB.port
  })
  await settled()
  assert.equal(socketA.has('answer'), false)
  await close()
})

test('blacklisting: a packet that comes unasked keeps the two apart', { skip }, async () => {
  const { socketA, socketB, endpointA, endpointB, arrivals, settled, close } = await pair('blacklisting')
  await socketA.send('unasked', endpointB)
  await arrivals.packet((packet) => packet.payload.toString() === 'unasked', patience())
  await socketB.send('answer', endpointA)
  await settled()
  assert.equal(socketA.has('answer'), false)
  await close()
})

for (const type of ['open-router', 'blacklisting'] as const) {
  test(`${type}: an opening packet with a TTL of 7 lets the two meet`, { skip }, async () => {
    const { socketA, socketB, endpointA, endpointB, arrivals, close } = await pair(type)
    await socketA.send('opening', endpointB, 7)
    await socketB.send('hello', endpointA)
    assert.deepEqual((await socketA.receive('hello', patience())).from, endpointB)
    await socketA.send('hello yourself', endpointB)
    assert.deepEqual((await socketB.receive('hello yourself', patience())).from, endpointA)
    await arrivals.stop()
    assert.equal(
      arrivals.packets.some((packet) => packet.payload.toString() === 'opening'),
      false,
    )
    await close()
  })
}

test('two hosts in one LAN reach each other there, and have mappings of their own', { skip }, async () => {
  const a = await fixture.place('full-cone')
  const b = await fixture.place('full-cone', { sameLanAs: a.side })
  const [socketA, socketB] = await Promise.all([a.agent.open(), b.agent.open()])
  await socketA.send('neighbour', { address: b.side.address, port: socketB.port })
  assert.equal((await socketB.receive('neighbour', patience())).from.address, a.side.address)
  const server = await fixture.server.open(fixture.address(0))
  const endpointA = await reflexive(socketA, server, fixture.address(0))
  const endpointB = await reflexive(socketB, server, fixture.address(0))
  assert.equal(endpointA.address, endpointB.address)
  assert.notEqual(endpointA.port, endpointB.port)
  const stranger = await fixture.server.open(fixture.address(1))
  await stranger.send('for a', endpointA)
  await stranger.send('for b', endpointB)
  await Promise.all([socketA.receive('for a', patience()), socketB.receive('for b', patience())])
  await Promise.all([server.close(), stranger.close(), a.agent.stop(), b.agent.stop()])
})
