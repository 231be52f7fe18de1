import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Endpoint, formatEndpoint } from '../../src/net/index.js'
import { type Candidate, Punch } from '../../src/punch/index.js'
import { Prng } from '../simulation/prng.js'
import { ACCEPTER, INVITER, Wire } from './punch-wire.js'

function resultOf(punch: Punch) {
  assert.equal(punch.state.name, 'succeeded')
  return punch.state.name === 'succeeded' ? punch.state.result : assert.fail()
}

const names = (wire: Wire) => [wire.inviter.state.name, wire.accepter.state.name]

test('a hostile offer makes no more than 32 endpoints, and none that is no place to send to', () => {
  const bad = [
    '224.0.0.1',
    '255.255.255.255',
    '0.0.0.0',
    '::',
    'ff02::1',
    'fe80::1',
    'localhost',
    '1.2.3',
    '',
  ]
  const hostile: Candidate[] = [
    ...bad.map((address): Candidate => ({ kind: 'host', endpoint: { address, port: 5 } })),
    ...[0, -1, 65536, 1.5, Number.NaN].map(
      (port): Candidate => ({ kind: 'host', endpoint: { address: '203.0.113.1', port } }),
    ),
    ...Array.from(
      { length: 1_000 },
      (_, i): Candidate => ({
        kind: 'reflexive',
        endpoint: { address: '203.0.113.2', port: 1 + i },
      }),
    ),
  ]
  const wire = new Wire({ remote: { inviter: hostile, accepter: hostile } })
  wire.inviter.addCandidates(0, hostile)
  wire.run(4_000)
  for (const role of ['inviter', 'accepter'] as const) {
    const targets = new Set(wire.by(role).map(({ to }) => formatEndpoint(to)))
    assert.equal(targets.size, 32)
    assert.ok([...targets].every((target) => target.startsWith('203.0.113.2:')))
  }
})

test('what was recorded and comes again brings nothing about, from wherever it comes', () => {
  const wire = new Wire()
  // no confirmation, so that both are in the middle of it
  wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'confirm'
  wire.run(300)
  assert.deepEqual(names(wire), ['nominating', 'confirming'])
  const seen = wire.sent.filter((datagram) => datagram.at < wire.now - 1 && wire.passes(datagram))
  assert.ok(seen.length > 10)
  const before = JSON.stringify([wire.inviter.state, wire.accepter.state])
  for (const datagram of seen) {
    for (const from of [undefined, { address: '203.0.113.66', port: 666 }]) wire.deliver(datagram, from)
    // thrown back at its sender
    assert.equal(wire[datagram.by].receive(wire.now, datagram.data, ACCEPTER), false)
  }
  assert.equal(JSON.stringify([wire.inviter.state, wire.accepter.state]), before)
  assert.deepEqual([wire.inviter.transmits(), wire.accepter.transmits()], [[], []])
  assert.equal(wire.inviter.received.replayed + wire.accepter.received.replayed, 2 * seen.length)
})

test('a fresh datagram that is sent on from elsewhere first does not move the path there', () => {
  const forged: Endpoint = { address: '203.0.113.66', port: 666 }
  for (let seed = 1; seed <= 200; seed++) {
    const wire = new Wire({ seed })
    wire.passes = (datagram) => {
      if (datagram.ttl !== undefined) return false
      // half of them arrive from the forger first: the original then counts as replayed
      if (datagram.to.address !== forged.address && wire.prng.chance(0.5)) wire.deliver(datagram, forged)
      return true
    }
    wire.run(9_000, () => wire.over)
    assert.deepEqual(resultOf(wire.inviter).peer, ACCEPTER)
    assert.deepEqual(resultOf(wire.accepter).peer, INVITER)
  }
})

test('who carries the datagrams of both sides to and fro may be the path, but then for both sides', () => {
  const router: Endpoint = { address: '203.0.113.66', port: 666 }
  for (let seed = 1; seed <= 200; seed++) {
    const wire = new Wire({ seed })
    wire.passes = (datagram) => {
      if (datagram.ttl !== undefined) return false
      // at 20% loss on his way, all of 12 DONEs are lost once in 240 million
      if (wire.prng.chance(0.8)) wire.deliver(datagram, router)
      return true
    }
    wire.run(9_000, () => wire.over)
    const paths = [resultOf(wire.inviter).peer, resultOf(wire.accepter).peer]
    const carried = paths[0]?.address === router.address
    assert.deepEqual(paths, carried ? [router, router] : [ACCEPTER, INVITER])
  }
})

test('100,000 random and mutated datagrams bring nothing about', () => {
  const wire = new Wire()
  wire.passes = ({ ttl, type }) => ttl === undefined && type !== 'confirm'
  wire.run(300)
  const before = JSON.stringify([wire.inviter.state, wire.accepter.state])
  const authentic = wire.accepter.received.authentic
  const recorded = wire.by('inviter').map(({ data }) => data)
  const prng = new Prng(7)
  for (let n = 0; n < 100_000; n++) {
    const model = recorded[n % recorded.length] as Buffer
    const data =
      n % 2 === 0 ? prng.bytes(n % 4 === 0 ? model.length : prng.integer(0, 1_300)) : Buffer.from(model)
    if (n % 2 === 1) {
      const at = prng.integer(0, data.length - 1)
      data[at] = (data[at] ?? 0) ^ prng.integer(1, 255)
    }
    const from = { address: '203.0.113.5', port: prng.integer(1, 65535) }
    assert.equal(wire.accepter.receive(wire.now, data, from), false)
  }
  assert.equal(wire.accepter.received.authentic, authentic)
  assert.equal(wire.accepter.received.foreign, 100_000)
  assert.equal(JSON.stringify([wire.inviter.state, wire.accepter.state]), before)
  assert.deepEqual(wire.accepter.transmits(), [])
  wire.passes = ({ ttl }) => ttl === undefined
  wire.run(1_000, () => wire.over)
  assert.deepEqual(names(wire), ['succeeded', 'succeeded'], 'the honest pairing goes on')
})

test('the accepter confirms the path that a nomination names, wherever it seems to come from', () => {
  const forged: Endpoint = { address: '203.0.113.66', port: 666 }
  const wire = new Wire()
  // every NOMINATE arrives from somewhere else only
  wire.passes = (datagram) => {
    if (datagram.type === 'nominate') wire.deliver(datagram, forged)
    return datagram.ttl === undefined && datagram.type !== 'nominate'
  }
  wire.run(3_000, () => wire.over)
  assert.deepEqual(resultOf(wire.accepter).peer, INVITER)
})

test('the accepter confirms no path that has not answered its challenge', () => {
  const wire = new Wire()
  // the accepter is heard, but hears no echo: only the opening check and what nominates
  let checks = 0
  wire.passes = ({ by, ttl, type }) =>
    ttl === undefined &&
    (by === 'accepter' || type !== 'check-ack') &&
    !(type === 'check' && by === 'inviter' && ++checks > 1)
  const proven: string[] = []
  wire.run(3_000, () => {
    for (const event of wire.accepter.events()) if (event.name === 'proven') proven.push(event.name)
    const confirmed = wire.by('accepter').some(({ type }) => type === 'confirm')
    assert.ok(!confirmed || proven.length > 0)
    return wire.over
  })
  assert.equal(proven.length, 1)
})

test('peer-reflexive endpoints are bounded, whoever sends fresh datagrams on from everywhere', () => {
  const wire = new Wire()
  let port = 1
  wire.passes = (datagram) => {
    if (datagram.by === 'inviter') wire.deliver(datagram, { address: '203.0.113.66', port: port++ })
    return false
  }
  wire.run(9_000)
  const targets = new Set(wire.by('accepter').map(({ to }) => formatEndpoint(to)))
  assert.ok(targets.size <= 1 + 64)
})

test('keys of the wrong length are refused at once', () => {
  const random = new Prng(1).bytes
  const options = { role: 'inviter', remote: [], hops: 7, patience: 1, timeout: 1, random } as const
  const keys = { inviter: Buffer.alloc(16), accepter: Buffer.alloc(32) }
  assert.throws(() => new Punch({ ...options, keys }, 0), RangeError)
})
