import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseEndpoint } from '../../src/net/index.js'
import {
  MAX_SEARCH_PACKETS,
  MAX_SEARCH_SOCKETS,
  NO_HINT,
  type Prospect,
  plan,
} from '../../src/punch/index.js'
import { type Attempt, SEEK_PACE } from '../../src/punch/plan.js'
import { Search, type Shot } from '../../src/punch/search.js'
import { systemRandom } from '../../src/system/index.js'

const TO = parseEndpoint('203.0.113.5:4000')

type Active = Exclude<Attempt, { kind: 'direct' }>

const spread = (more: Partial<Extract<Attempt, { kind: 'spread' }>> = {}): Active => ({
  strategy: 'search',
  kind: 'spread',
  after: { both: 0 },
  sockets: 256,
  to: TO,
  rounds: [{ after: 0, hops: [7] }],
  ...more,
})

const seek = (more: Partial<Extract<Attempt, { kind: 'seek' }>> = {}): Active => ({
  strategy: 'search',
  kind: 'seek',
  after: { both: 0 },
  address: TO.address,
  ports: { kind: 'random', from: 1024, to: 65_535, count: 1000 },
  ...more,
})

/** Lets a search run until it wants nothing more or the time is over. */
function run(search: Search, from: number, until: number): (Shot & { at: number })[] {
  const shots: (Shot & { at: number })[] = []
  let now = from
  while (now <= until) {
    search.wants(now)
    for (let shot = search.next(now, () => 0); shot; shot = search.next(now, () => 0))
      shots.push({ ...shot, at: now })
    if (search.nextDue > until) break
    now = Math.max(search.nextDue, now + 1)
  }
  return shots
}

const started = (attempts: Attempt[], base = 0) => {
  const search = new Search(systemRandom, 0, base)
  search.follow(attempts)
  search.permit(0)
  return search
}

test('a spread sends one packet from each of its sockets, in turn, with its TTL', () => {
  const shots = run(started([spread()]), 0, 60_000)
  assert.deepEqual(
    shots.map(({ socket }) => socket),
    Array.from({ length: 256 }, (_, n) => n + 1),
  )
  assert.ok(shots.every(({ to, ttl }) => to === TO && ttl === 7))
  assert.ok((shots.at(-1)?.at ?? 0) < 1000)
})

test('a second round comes from the same sockets, and TTLs take turns', () => {
  const rounds = [
    { after: 0, hops: [4, 12] },
    { after: 5000, hops: [0] },
  ]
  const shots = run(started([spread({ sockets: 4, rounds })]), 0, 60_000)
  assert.deepEqual(
    shots.map(({ socket, ttl }) => `${socket} ${ttl}`),
    ['1 4', '2 12', '3 4', '4 12', '1 0', '2 0', '3 0', '4 0'],
  )
  assert.ok((shots[4]?.at ?? 0) >= 5000)
})

test('a seek probes each port once, at its pace, from the first socket at full TTL', () => {
  const shots = run(started([seek()]), 0, 60_000)
  assert.equal(shots.length, 1000)
  assert.equal(new Set(shots.map(({ to }) => to.port)).size, 1000)
  assert.ok(shots.every(({ socket, ttl, to }) => socket === 0 && ttl === 0 && to.address === TO.address))
  const length = (shots.at(-1)?.at ?? 0) - (shots[0]?.at ?? 0)
  assert.ok(Math.abs(length - 999 * SEEK_PACE) < 20)
})

test('a window runs on at the other end of the range', () => {
  const ports = { kind: 'window', from: 65_530, step: 4, count: 4 } as const
  const shots = run(started([seek({ ports })]), 0, 60_000)
  assert.deepEqual(
    shots.map(({ to }) => to.port),
    [65_530, 65_534, 1026, 1030],
  )
})

test('what loads the network waits for its permission, and then keeps the distances of the plan', () => {
  const search = new Search(systemRandom, 0, 0)
  search.follow([spread({ sockets: 2, after: { both: 100 } }), seek({ after: { both: 500 } })])
  assert.ok(!search.wants(99))
  assert.ok(search.wants(100))
  assert.ok(!search.wants(101), 'it asks once')
  assert.deepEqual(run(search, 100, 20_000), [])
  search.permit(20_000)
  const shots = run(search, 20_000, 60_000)
  assert.equal(shots[0]?.at, 20_000)
  assert.equal(shots.find(({ socket }) => socket === 0)?.at, 20_400)
})

test('two new sockets are no load and wait for nobody', () => {
  const search = new Search(systemRandom, 0, 0)
  search.follow([spread({ strategy: 'fresh', sockets: 2 })])
  assert.ok(!search.wants(0))
  assert.equal(run(search, 0, 1000).length, 2)
})

test('it keeps still for a while when something was heard, and does not make up for it in a burst', () => {
  const search = started([seek()])
  const before = run(search, 0, 1000)
  search.hold(1000)
  assert.equal(
    search.next(2499, () => 0),
    undefined,
  )
  const after = run(search, 2500, 3000)
  assert.ok(before.length > 90)
  assert.ok(after.length < 60, `${after.length}`)
})

test('a plan that has changed goes on with what is still part of it', () => {
  const search = started([spread({ sockets: 10 }), seek()])
  run(search, 0, 2000)
  const { packets } = search
  search.follow([spread({ sockets: 10 }), seek(), spread({ sockets: 5, after: { own: 0 } })])
  const more = run(search, 2000, 2100)
  assert.deepEqual(
    more.filter(({ socket }) => socket > 0).map(({ socket }) => socket),
    [11, 12, 13, 14, 15],
  )
  assert.equal(search.packets, packets + more.length)
})

test('a peer that changes what it says of itself all the time gets no more than the budget of one search', () => {
  const side = (port: number, symmetric: boolean): Prospect => ({
    nat: symmetric
      ? {
          ...NO_HINT,
          mapping: 'address-dependent',
          allocation: { kind: 'sequential', step: 1 },
          ports: [port, port + 1, port + 2, port + 3],
        }
      : { ...NO_HINT, mapping: 'endpoint-independent' },
    candidates: [{ kind: 'reflexive', endpoint: { address: `203.0.113.${port % 250}`, port } }],
    seek: true,
    sockets: 512,
  })
  for (const own of [true, false]) {
    const search = new Search(systemRandom, 0, 0)
    search.permit(0)
    let packets = 0
    for (let now = 0; now < 60_000; now += 100) {
      const peer = side(2000 + now / 100, !own)
      search.follow(plan({ own: side(5000, own), peer, hops: 7, failures: 0 }))
      packets += run(search, now, now + 99).length
    }
    assert.ok(packets <= MAX_SEARCH_PACKETS, `${packets}`)
    assert.equal(search.packets, packets)
    assert.ok(search.sockets <= MAX_SEARCH_SOCKETS)
  }
})

test('addresses that are not public are never searched', () => {
  const nat = { ...NO_HINT, mapping: 'address-dependent' } as const
  const own: Prospect = {
    nat: { ...NO_HINT, mapping: 'endpoint-independent' },
    candidates: [],
    seek: true,
    sockets: 512,
  }
  for (const address of [
    '192.168.1.1',
    '10.0.0.1',
    '127.0.0.1',
    '100.64.0.1',
    '169.254.1.1',
    '2001:db8::1',
  ]) {
    const candidates = [{ kind: 'reflexive', endpoint: { address, port: 4000 } }] as const
    const peer: Prospect = { nat, candidates, seek: true, sockets: 512 }
    assert.deepEqual(
      plan({ own, peer, hops: 7, failures: 0 }).map(({ kind }) => kind),
      ['direct'],
    )
  }
})
