import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../../src/net/index.js'
import type { Candidate, Punch } from '../../src/punch/index.js'
import { ACCEPTER, ACCEPTER_LAN, INVITER, INVITER_LAN, Wire } from './punch-wire.js'

function failureOf(punch: Punch) {
  assert.equal(punch.state.name, 'failed')
  return punch.state.name === 'failed' ? punch.state.failure : assert.fail()
}

function resultOf(punch: Punch) {
  assert.equal(punch.state.name, 'succeeded')
  return punch.state.name === 'succeeded' ? punch.state.result : assert.fail()
}

const names = (wire: Wire) => [wire.inviter.state.name, wire.accepter.state.name]

test('both sides get the endpoint of the other, their own outer one, and a round-trip time', () => {
  const wire = new Wire()
  wire.run(1_000, () => wire.over)
  const inviter = resultOf(wire.inviter)
  const accepter = resultOf(wire.accepter)
  assert.deepEqual(inviter.peer, ACCEPTER)
  assert.deepEqual(inviter.outer, INVITER)
  assert.equal(inviter.rtt, 2)
  assert.equal(inviter.acknowledged, true)
  assert.deepEqual(accepter.peer, INVITER)
  assert.deepEqual(accepter.outer, ACCEPTER)
})

test('after DONE and its acknowledgement nothing more is sent, and no tick is wanted', () => {
  const wire = new Wire()
  wire.run(1_000, () => wire.over)
  const sent = wire.sent.length
  assert.equal(wire.inviter.due.at, Number.POSITIVE_INFINITY)
  assert.equal(wire.accepter.due.at, Number.POSITIVE_INFINITY)
  for (const datagram of [...wire.sent]) wire.deliver(datagram)
  wire.inviter.tick(wire.now + 1e6)
  wire.accepter.tick(wire.now + 1e6)
  wire.run(2_000)
  assert.equal(wire.sent.length, sent)
})

test('the accepter sends TTL-limited packets alone until something valid comes', () => {
  const wire = new Wire()
  wire.passes = () => false
  wire.run(1_999)
  const opening = wire.by('accepter')
  assert.ok(opening.length > 4)
  assert.ok(opening.every(({ ttl }) => ttl === 7))
  wire.run(101)
  const later = wire.by('accepter').slice(opening.length)
  assert.ok(
    later.length > 0 && later.every(({ ttl }) => ttl === undefined),
    'at full TTL when patience is over',
  )
})

test('a valid datagram turns the accepter to full TTL, towards that endpoint alone', () => {
  const elsewhere = { address: '203.0.113.9', port: 9 }
  const remote = {
    inviter: [{ kind: 'reflexive' as const, endpoint: ACCEPTER }],
    accepter: [
      { kind: 'reflexive' as const, endpoint: INVITER },
      { kind: 'reflexive' as const, endpoint: elsewhere },
    ],
  }
  const wire = new Wire({ remote })
  // nothing gets back, so that it goes on
  wire.passes = ({ by, ttl }) => by === 'inviter' && ttl === undefined
  wire.run(1_500)
  const after = wire.by('accepter').filter(({ at }) => at > 100)
  assert.ok(after.some(({ to, ttl }) => to.address === INVITER.address && ttl === undefined))
  assert.ok(after.filter(({ to }) => to.address === elsewhere.address).every(({ ttl }) => ttl === 7))
})

test('the inviter sends one TTL-limited packet to each endpoint, then full TTL', () => {
  const endpoints = Array.from({ length: 5 }, (_, i) => ({ address: `203.0.113.${i + 1}`, port: 7 }))
  const remote = { inviter: endpoints.map((endpoint) => ({ kind: 'host' as const, endpoint })), accepter: [] }
  const wire = new Wire({ remote })
  wire.run(1_000)
  for (const { address } of endpoints) {
    const ttls = wire.by('inviter').flatMap(({ to, ttl }) => (to.address === address ? [ttl] : []))
    assert.ok(ttls.length > 2)
    assert.equal(ttls[0], 7)
    assert.ok(ttls.slice(1).every((ttl) => ttl === undefined))
  }
})

test('checks are paced: never two within 5 ms, some 50 a second, fewer once they stay unanswered', () => {
  const candidates = (count: number): Candidate[] =>
    Array.from({ length: count }, (_, i) => ({
      kind: 'reflexive',
      endpoint: { address: `203.0.113.${i + 1}`, port: 7 },
    }))
  const many = new Wire({ remote: { inviter: candidates(32), accepter: [] } })
  many.run(5_000)
  const times = many.by('inviter').map(({ at }) => at)
  for (let i = 1; i < times.length; i++) assert.ok((times[i] as number) - (times[i - 1] as number) >= 5)
  assert.ok(times.length <= 300)
  const one = new Wire({ remote: { inviter: candidates(1), accepter: [] } })
  one.run(9_000)
  assert.ok(one.by('inviter').length <= 26, 'each second two for one endpoint')
})

test('the reflexive candidate does not wait for ten addresses of containers', () => {
  const hosts = Array.from(
    { length: 10 },
    (_, i): Candidate => ({
      kind: 'host',
      endpoint: { address: `172.17.${i}.1`, port: 7 },
    }),
  )
  const remote = { inviter: [...hosts, { kind: 'reflexive' as const, endpoint: ACCEPTER }], accepter: [] }
  const wire = new Wire({ remote })
  wire.run(100)
  const order = wire.by('inviter').map(({ to }) => to.address)
  assert.equal(order.indexOf(ACCEPTER.address), 1)
})

test('the LAN is preferred although the reflexive path answered as well', () => {
  const remote = {
    inviter: [
      { kind: 'reflexive' as const, endpoint: ACCEPTER },
      { kind: 'host' as const, endpoint: ACCEPTER_LAN },
    ],
    accepter: [
      { kind: 'reflexive' as const, endpoint: INVITER },
      { kind: 'host' as const, endpoint: INVITER_LAN },
    ],
  }
  const wire = new Wire({ remote })
  wire.routes.push(
    { by: 'inviter', to: ACCEPTER_LAN, from: INVITER_LAN },
    { by: 'accepter', to: INVITER_LAN, from: ACCEPTER_LAN },
  )
  // the first full checks on the LAN are lost, so that the reflexive path is proven first
  let lost = 2
  wire.passes = ({ to, ttl }) => ttl === undefined && !(to === ACCEPTER_LAN && lost-- > 0)
  wire.run(1_000, () => wire.over)
  assert.equal(resultOf(wire.inviter).kind, 'host')
  assert.deepEqual(resultOf(wire.accepter).peer, INVITER_LAN)
})

test('a valid datagram from an unexpected endpoint makes a peer-reflexive candidate, and a path', () => {
  const mapped: Endpoint = { address: '203.0.113.77', port: 7777 }
  const wire = new Wire()
  wire.routes.length = 0
  wire.routes.push(
    { by: 'inviter', to: ACCEPTER, from: mapped },
    { by: 'accepter', to: mapped, from: ACCEPTER },
  )
  wire.run(1_000, () => wire.over)
  assert.deepEqual(resultOf(wire.accepter).peer, mapped)
  assert.equal(resultOf(wire.accepter).kind, 'peer-reflexive')
  assert.deepEqual(resultOf(wire.inviter).outer, mapped)
})

test('candidates that become known during the punch are tried', () => {
  const wire = new Wire({ remote: { inviter: [], accepter: [] } })
  wire.run(500)
  assert.equal(wire.sent.length, 0)
  wire.inviter.addCandidates(wire.now, [{ kind: 'reflexive', endpoint: ACCEPTER }])
  wire.run(1_000, () => wire.over)
  assert.deepEqual(names(wire), ['succeeded', 'succeeded'])
})

test('up to 12 DONEs go out in 250 ms; unacknowledged, the inviter is settled after 300', () => {
  const wire = new Wire()
  wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'done-ack'
  wire.run(2_000, () => wire.over)
  const done = wire.by('inviter').filter(({ type }) => type === 'done')
  assert.equal(done.length, 12)
  const first = done[0]?.at ?? 0
  const last = done.at(-1)?.at ?? 0
  assert.ok(last - first >= 240 && last - first <= 265)
  assert.equal(resultOf(wire.inviter).acknowledged, false)
  assert.ok(wire.now - first >= 300 && wire.now - first <= 305)
  assert.equal(resultOf(wire.accepter).acknowledged, true)
})

test('eleven of twelve DONEs may be lost', () => {
  const wire = new Wire()
  let done = 0
  wire.passes = ({ ttl, type }) => ttl === undefined && (type !== 'done' || ++done === 12)
  wire.run(2_000, () => wire.over)
  assert.deepEqual(names(wire), ['succeeded', 'succeeded'])
})

test('if every DONE is lost, authenticated data still makes the accepter succeed; without it, it says so', () => {
  for (const data of [true, false]) {
    const wire = new Wire()
    wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'done'
    wire.run(2_000, () => wire.inviter.state.name === 'succeeded')
    assert.deepEqual(names(wire), ['succeeded', 'confirming'])
    if (data) wire.accepter.dataArrived()
    wire.run(20_000, () => wire.over)
    if (data) assert.deepEqual(resultOf(wire.accepter).peer, INVITER)
    else assert.equal(failureOf(wire.accepter).code, 'PUNCH_TIMEOUT')
  }
})

test('data is no sign before the accepter has confirmed', () => {
  const wire = new Wire()
  wire.accepter.dataArrived()
  wire.inviter.dataArrived()
  assert.deepEqual(names(wire), ['checking', 'opening'])
})

test('when time is up each side says so, and names what it tried', () => {
  const wire = new Wire({ inviter: { timeout: 500 }, accepter: { timeout: 500 } })
  wire.passes = () => false
  wire.run(1_000, () => wire.over)
  for (const punch of [wire.inviter, wire.accepter]) {
    const expected = { code: 'PUNCH_TIMEOUT', reason: 'PUNCH_TIMEOUT', tried: 1, heard: 0, proven: 0 }
    assert.deepEqual(failureOf(punch), expected)
  }
  assert.equal(wire.sent.filter(({ type }) => type === 'abort').length, 6)
})

test('an inviter that runs out of time during the nomination takes the accepter with it', () => {
  const wire = new Wire({ inviter: { timeout: 1_000 } })
  wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'confirm'
  wire.run(20_000, () => wire.over)
  assert.equal(failureOf(wire.inviter).code, 'PUNCH_TIMEOUT')
  assert.equal(failureOf(wire.accepter).code, 'PEER_ABORTED')
  assert.equal(failureOf(wire.accepter).reason, 'PUNCH_TIMEOUT')
})

test('an accepter that confirmed outwaits the inviter, even beyond its own time', () => {
  const wire = new Wire({ accepter: { timeout: 400 } })
  let confirmed = 0
  // the inviter hears a confirmation only after the accepter's time was up
  wire.passes = ({ ttl, type, at }) => {
    if (type === 'confirm') confirmed++
    return ttl === undefined && (type !== 'confirm' || at > 900)
  }
  wire.run(5_000, () => wire.over)
  assert.ok(confirmed > 5)
  assert.deepEqual(names(wire), ['succeeded', 'succeeded'])
})

test('the inviter takes no confirmation after its time, however late it is told', () => {
  const wire = new Wire({ inviter: { timeout: 1_000 } })
  wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'confirm'
  wire.run(900)
  const confirm = wire.by('accepter').findLast(({ type }) => type === 'confirm')
  assert.ok(confirm)
  wire.now = 5_000
  wire.deliver(confirm)
  assert.equal(wire.inviter.state.name, 'aborting')
})

test('an accepter whose machine slept reads what has arrived before it gives up', () => {
  const wire = new Wire({ accepter: { timeout: 1_000 } })
  const held: Parameters<Wire['deliver']>[0][] = []
  wire.passes = (datagram) => {
    if (datagram.type === 'done') held.push(datagram)
    return datagram.ttl === undefined && datagram.type !== 'done'
  }
  wire.run(2_000, () => held.length === 1)
  wire.accepter.tick(60_000)
  assert.equal(wire.accepter.state.name, 'confirming')
  wire.accepter.receive(60_010, (held[0] as { data: Buffer }).data, INVITER)
  assert.equal(wire.accepter.state.name, 'acknowledging')
})

test('a nominated path that goes dead gives way to another', () => {
  const remote = {
    inviter: [
      { kind: 'host' as const, endpoint: ACCEPTER_LAN },
      { kind: 'reflexive' as const, endpoint: ACCEPTER },
    ],
    accepter: [{ kind: 'reflexive' as const, endpoint: INVITER }],
  }
  const wire = new Wire({ remote })
  wire.routes.push(
    { by: 'inviter', to: ACCEPTER_LAN, from: INVITER_LAN },
    { by: 'accepter', to: INVITER_LAN, from: ACCEPTER_LAN },
  )
  let dead = false
  wire.passes = ({ to, type, ttl }) => {
    dead ||= type === 'nominate'
    return ttl === undefined && !(dead && (to.address === '10.0.0.1' || to.address === '10.0.0.2'))
  }
  wire.run(5_000, () => wire.over)
  assert.deepEqual(resultOf(wire.inviter).peer, ACCEPTER)
  assert.deepEqual(resultOf(wire.accepter).peer, INVITER)
})

test('a side that is cancelled tells the other why, on every path it has', () => {
  for (const role of ['inviter', 'accepter'] as const) {
    const wire = new Wire()
    wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'confirm'
    wire.run(300)
    wire[role].abort(wire.now, 'BUSY')
    wire.run(200, () => wire.over)
    assert.equal(failureOf(wire[role]).code, 'CANCELLED')
    const peer = failureOf(role === 'inviter' ? wire.accepter : wire.inviter)
    assert.equal(peer.code, 'PEER_ABORTED')
    assert.equal(peer.reason, 'BUSY')
  }
})

test('an accepter that has its DONE is not cancelled any more: the inviter has the path', () => {
  const wire = new Wire()
  wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'done-ack'
  wire.run(2_000, () => wire.accepter.state.name === 'acknowledging')
  wire.accepter.abort(wire.now, 'BUSY')
  wire.passes = ({ ttl }) => ttl === undefined
  wire.run(2_000, () => wire.over)
  assert.equal(wire.accepter.state.name, 'succeeded')
  assert.equal(wire.inviter.state.name, 'succeeded')
})

test('an ABORT after DONE does not undo the success of the accepter', () => {
  const wire = new Wire()
  wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'done-ack'
  wire.run(2_000, () => wire.accepter.state.name === 'acknowledging')
  wire.inviter.abort(wire.now, 'CANCELLED')
  wire.run(100)
  assert.equal(wire.accepter.state.name, 'succeeded')
})
