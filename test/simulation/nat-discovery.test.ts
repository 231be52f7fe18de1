import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocationOf, type Depth, Discovery, type FamilyReport, SOCKETS } from '../../src/nat/index.js'
import type { Endpoint } from '../../src/net/index.js'
import { BINDING, decode, encode, find, isStun } from '../../src/stun/index.js'
import { DEPENDENCES, Nat, type NatBehaviour, nameOf } from './nat.js'
import { Prng } from './prng.js'

const SERVER = { primary: '198.51.100.1', alternate: '198.51.100.2', ports: [3478, 3479] } as const
const HOST = '192.168.1.2'
const PUBLIC = '203.0.113.7'

/** What a simulated network does to packets. */
interface Weather {
  /** Share of the packets that get lost, each way. */
  readonly loss: number
  /** One way, in ms. */
  readonly delay: number
  readonly jitter: number
}

interface Flight {
  readonly at: number
  readonly deliver: () => void
}

/** One discovery from behind a NAT in virtual time, with a server that has two addresses and two ports. */
function discover(
  behaviour: NatBehaviour,
  weather: Weather,
  seed: number,
  options: { readonly plain?: boolean; readonly depth?: Depth; readonly dead?: boolean } = {},
): { report: FamilyReport | undefined; took: number; sent: number; discovery: Discovery } {
  const prng = new Prng(seed)
  const nat = new Nat(PUBLIC, behaviour, prng)
  const flights: Flight[] = []
  let now = 0
  let sent = 0
  const locals = Array.from({ length: SOCKETS }, (_, n) => 40_000 + 7 * n)
  const random = (length: number) => Buffer.from(Array.from({ length }, () => prng.integer(0, 255)))
  const discovery = new Discovery(
    {
      family: 4,
      names: ['server', ...(options.plain ? ['second'] : [])],
      locals,
      own: new Set([HOST]),
      random,
      depth: options.depth ?? 'whole',
    },
    now,
  )
  const fly = (deliver: () => void) => {
    if (prng.chance(weather.loss)) return
    flights.push({ at: now + weather.delay + prng.integer(0, weather.jitter), deliver })
  }
  const answer = (at: Endpoint, from: Endpoint, data: Buffer) => {
    if (options.dead || !isStun(data)) return
    const request = decode(data)
    if (request.class !== 'request' || request.method !== BINDING) return
    const change = options.plain ? undefined : find(request, 'CHANGE-REQUEST')
    const turned = {
      address: at.address === SERVER.primary ? SERVER.alternate : SERVER.primary,
      port: at.port === 3478 ? 3479 : 3478,
    }
    const source = {
      address: change?.address ? turned.address : at.address,
      port: change?.port ? turned.port : at.port,
    }
    const response = encode({
      class: 'success',
      transaction: request.transaction,
      attributes: [
        { name: 'XOR-MAPPED-ADDRESS', endpoint: from },
        ...(options.plain ? [] : [{ name: 'OTHER-ADDRESS' as const, endpoint: turned }]),
      ],
    })
    fly(() => arrive(from, source, response))
  }
  const arrive = (to: Endpoint, from: Endpoint, data: Buffer) => {
    const inner = nat.inbound(now, to.port, from)
    const socket = inner === undefined ? -1 : locals.indexOf(inner.port)
    if (socket >= 0) discovery.receive(now, socket, data, from)
  }
  const send = () => {
    for (const { socket, data, to, ttl } of discovery.transmits()) {
      sent++
      const inner = { address: HOST, port: locals[socket] ?? 0 }
      const outer = nat.outbound(now, inner, to)
      // the NAT is the first router: a TTL of 2 passes it, and dies before any server
      if (ttl !== undefined || to.address === PUBLIC) continue
      fly(() => answer(to, outer, data))
    }
  }
  discovery.ask(now, 'server', [{ address: SERVER.primary, port: 3478 }])
  if (options.plain) discovery.ask(now, 'second', [{ address: SERVER.alternate, port: 3478 }])
  send()
  while (discovery.state === 'running') {
    flights.sort((a, b) => a.at - b.at)
    const next = Math.min(discovery.due.at, flights[0]?.at ?? Number.POSITIVE_INFINITY)
    assert.ok(Number.isFinite(next), 'it waits for nothing')
    assert.ok(next >= now, 'time goes on')
    now = next
    const flight = flights[0]?.at === now ? flights.shift() : undefined
    if (flight) flight.deliver()
    else discovery.tick(now)
    send()
  }
  return { report: discovery.report(HOST), took: now, sent, discovery }
}

const FAIR: Weather = { loss: 0, delay: 20, jitter: 5 }
const WORDS = {
  independent: 'endpoint-independent',
  address: 'address-dependent',
  'address and port': 'address-and-port-dependent',
} as const

for (const mapping of DEPENDENCES) {
  for (const filtering of DEPENDENCES) {
    const behaviour = { mapping, filtering } as const
    test(`in virtual time: ${nameOf(behaviour)} is found out, with 30 seeds`, () => {
      for (let seed = 1; seed <= 30; seed++) {
        const { report, took, sent } = discover(behaviour, FAIR, seed)
        assert.equal(report?.mapping, WORDS[mapping])
        assert.equal(report?.filtering, WORDS[filtering])
        assert.equal(report?.unasked, filtering === 'independent' ? 'let in' : 'dropped')
        assert.equal(report?.allocation.kind, 'random')
        assert.ok(took < 2000, `${took} ms`)
        assert.ok(sent < 120, `${sent} datagrams`)
      }
    })
  }
}

test('in virtual time: what an unasked packet brings about is found out', () => {
  for (const [unasked, word] of [
    ['clash', 'moves the mapping'],
    ['blacklist', 'cuts off the sender'],
  ] as const) {
    for (let seed = 1; seed <= 50; seed++) {
      const nat = { mapping: 'independent', filtering: 'address and port', unasked } as const
      const { report } = discover(nat, FAIR, seed)
      assert.equal(report?.unasked, word)
      assert.equal(report?.filtering, 'address-and-port-dependent')
      assert.equal(report?.mapping, 'endpoint-independent')
    }
  }
})

test('in virtual time: with one packet of twenty lost a mapping is never wrong, and a filter hardly ever', () => {
  const rounds = 300
  let strict = 0
  for (let seed = 1; seed <= rounds; seed++) {
    const nat = { mapping: 'address', filtering: 'address' } as const
    const { report, took } = discover(nat, { loss: 0.05, delay: 40, jitter: 10 }, seed)
    assert.ok(report?.mapping === 'address-dependent' || report?.mapping === 'unknown', report?.mapping)
    if (report?.filtering === 'address-and-port-dependent') strict++
    assert.notEqual(report?.filtering, 'endpoint-independent')
    assert.ok(took <= 2600)
  }
  // all of at least three answers lost: 0.1% of the tests
  assert.ok(strict <= 3, `${strict} of ${rounds}`)
})

test('in virtual time: slow servers are measured too', () => {
  const { report, took } = discover(
    { mapping: 'independent', filtering: 'address' },
    { loss: 0, delay: 150, jitter: 20 },
    1,
  )
  assert.equal(report?.mapping, 'endpoint-independent')
  assert.equal(report?.filtering, 'address-dependent')
  assert.ok(took <= 2600, `${took} ms`)
})

test('in virtual time: plain servers tell a cone from a symmetric NAT, and what they cannot tell is said', () => {
  const cone = discover({ mapping: 'independent', filtering: 'address' }, FAIR, 1, { plain: true })
  assert.equal(cone.report?.mapping, 'endpoint-independent')
  assert.equal(cone.report?.filtering, 'unknown')
  assert.deepEqual(
    cone.report?.missing.map(({ what }) => what),
    ['filtering'],
  )
  const symmetric = discover({ mapping: 'address', filtering: 'address' }, FAIR, 1, { plain: true })
  assert.equal(symmetric.report?.mapping, 'address-and-port-dependent')
  assert.match(symmetric.report?.missing[0]?.why ?? '', /may depend on the address alone/)
})

test('in virtual time: a brief look opens few mappings, and none to no purpose', () => {
  const cone = discover({ mapping: 'independent', filtering: 'address and port' }, FAIR, 1, {
    depth: 'inviter',
  })
  assert.equal(cone.report?.filtering, 'address-and-port-dependent')
  assert.equal(cone.report?.samples.length, 0)
  const symmetric = discover({ mapping: 'address and port', filtering: 'address' }, FAIR, 1, {
    depth: 'inviter',
  })
  assert.equal(symmetric.report?.mapping, 'address-and-port-dependent')
  assert.equal(symmetric.report?.filtering, 'unknown')
  assert.ok(symmetric.sent <= 3, `${symmetric.sent} datagrams`)
})

test('in virtual time: what an accepter looks at costs a symmetric NAT no mapping after the first moment', () => {
  const { report, took, sent } = discover({ mapping: 'address and port', filtering: 'address' }, FAIR, 1, {
    depth: 'accepter',
  })
  assert.equal(report?.mapping, 'address-and-port-dependent')
  assert.equal(report?.allocation.kind, 'random')
  assert.equal(report?.filtering, 'unknown')
  assert.ok(took < 200 && sent <= 9, `${took} ms, ${sent} datagrams`)
  const banning = { mapping: 'independent', filtering: 'address and port', unasked: 'blacklist' } as const
  const cone = discover(banning, FAIR, 1, { depth: 'accepter' })
  assert.equal(cone.report?.unasked, 'cuts off the sender')
  assert.equal(cone.report?.filtering, 'address-and-port-dependent')
  assert.equal(cone.report?.hops, undefined)
})

test('in virtual time: servers that are silent are given up on', () => {
  const { report, took, sent } = discover({ mapping: 'independent', filtering: 'address' }, FAIR, 1, {
    dead: true,
  })
  assert.equal(report, undefined)
  assert.ok(took <= 2000 && sent <= 5, `${took} ms, ${sent} datagrams`)
})

test('ports: kept, in sequence, at random, and too few to tell', () => {
  const samples = (outside: readonly number[], inside: (port: number, n: number) => number) =>
    outside.map((port, n) => ({ inside: inside(port, n), outside: { address: PUBLIC, port } }))
  const other = (_: number, n: number) => 50_000 + n
  const cases: readonly (readonly [readonly number[], string])[] = [
    [[3000, 3001, 3002, 3003, 3004, 3005], 'sequential 1'],
    [[3000, 3002, 3004, 3010, 3012, 3014], 'sequential 2'],
    [[3014, 3012, 3010, 3004, 3002, 3000], 'sequential -2'],
    [[65_533, 65_535, 1025, 1027, 1029, 1031], 'sequential 2'],
    [[3000, 3002, 3001, 3003, 3004, 3005], 'sequential 1'],
    [[3000, 41_000, 12_000, 60_000, 2000, 33_000], 'random'],
    [[3000, 3001, 60_000, 9000, 3002, 45_000], 'random'],
    [[3000, 3001, 3002], 'unknown'],
  ]
  for (const [outside, expected] of cases) {
    const found = allocationOf(samples(outside, other))
    assert.equal(
      found.kind === 'sequential' ? `sequential ${found.step}` : found.kind,
      expected,
      `${outside}`,
    )
  }
  const kept = samples([4000, 4100, 4200, 4300, 4400, 4500], (port, n) => (n === 3 ? 9 : port))
  assert.equal(allocationOf(kept).kind, 'preserved')
})
