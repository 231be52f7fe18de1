import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PortRange, silent, UdpPort } from '../../src/net/index.js'
import { decodeHint, encodeHint } from '../../src/pairing/hint.js'
import type { PairingContext } from '../../src/pairing/index.js'
import { ownHint, roomForSockets } from '../../src/pairing/prospects.js'
import { QuickNat } from '../../src/pairing/quick-nat.js'
import { Searching } from '../../src/pairing/searching.js'
import { type NatHint, NO_HINT } from '../../src/punch/index.js'
import { type Reflexive, StunServer, samplePorts } from '../../src/stun/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'

test('a hint comes through whole, and what is not known is left out', () => {
  const hints: NatHint[] = [
    NO_HINT,
    { ...NO_HINT, mapping: 'endpoint-independent', filtering: 'address-dependent' },
    {
      mapping: 'address-and-port-dependent',
      filtering: 'address-and-port-dependent',
      allocation: { kind: 'sequential', step: -2 },
      pooling: 'arbitrary',
      ports: [40_000, 39_998],
    },
    { ...NO_HINT, allocation: { kind: 'random' }, pooling: 'paired' },
    { ...NO_HINT, allocation: { kind: 'preserved' } },
  ]
  for (const hint of hints) assert.deepEqual(decodeHint(JSON.parse(JSON.stringify(encodeHint(hint)))), hint)
  assert.deepEqual(encodeHint(NO_HINT), {})
})

test('what nobody understands in a hint is unknown, and never a reason to drop the message', () => {
  const nonsense: unknown[] = [
    undefined,
    null,
    7,
    'cone',
    [],
    { mapping: 'yes', filtering: 1, pooling: {}, allocation: [] },
  ]
  for (const value of nonsense) assert.deepEqual(decodeHint(value), NO_HINT)
  const allocation = (value: unknown) => decodeHint({ allocation: value }).allocation.kind
  for (const value of [
    'sequential',
    'sequential 0',
    'sequential x',
    'sequential 99999',
    'sequential 1.5',
    'sequential --1',
  ])
    assert.equal(allocation(value), 'unknown')
  const ports = (value: unknown) => decodeHint({ ports: value }).ports
  for (const value of ['1', [0], [65_536], [1.5], ['1'], [null], Array.from({ length: 9 }, () => 5)])
    assert.deepEqual(ports(value), [])
  assert.deepEqual(ports([1, 65_535]), [1, 65_535])
})

const context = (more: Partial<PairingContext>) => ({ bind: {}, ...more }) as PairingContext

test('what a report knows is added to what the pairing has found out by itself', () => {
  const quick: NatHint = { ...NO_HINT, mapping: 'address-dependent', ports: [1, 2, 3, 4] }
  const report = { ...NO_HINT, mapping: 'endpoint-independent', filtering: 'address-dependent' } as const
  assert.deepEqual(ownHint(context({ nat: () => report }), quick), {
    ...quick,
    filtering: 'address-dependent',
  })
  assert.deepEqual(ownHint(context({ nat: () => undefined }), quick), quick)
  assert.deepEqual(ownHint(context({ kinds: new Set(['host']) }), quick).ports, [])
})

test('a fixed port leaves no room for more sockets, a range as much as it has', () => {
  assert.equal(roomForSockets({}), 512)
  assert.equal(roomForSockets({ address: '192.0.2.1' }), 512)
  assert.equal(roomForSockets({ port: 4000 }), 0)
  assert.equal(roomForSockets({ range: new PortRange(4000, 4099) }), 92)
  assert.equal(roomForSockets({ range: new PortRange(4000, 4003) }), 0)
})

test('a peer towards whom four searches found nothing is not searched for again for ten minutes', () => {
  let now = 0
  const searching = new Searching({ ...systemClock, now: () => now })
  for (let n = 0; n < 4; n++) {
    assert.ok(searching.allows('bob'))
    searching.ended('bob', false)
  }
  assert.ok(!searching.allows('bob'))
  assert.ok(searching.allows('carol'))
  now = 10 * 60_000
  assert.ok(searching.allows('bob'))
  for (let n = 0; n < 9; n++) {
    searching.ended('bob', false)
    if (n % 2) searching.ended('bob', true)
  }
  assert.ok(!searching.allows('bob'), 'one that found something does not make up for others')
  for (let n = 0; n < 9; n++) searching.ended('dave', true)
  assert.ok(searching.allows('dave'))
})

const seen = (server: string, port: number): Reflexive => ({
  endpoint: { address: '203.0.113.5', port },
  base: 4,
  server: { address: server, port: 3478 },
  serverName: server,
  rtt: 1,
})

test('two servers that see two ports make the mapping symmetric, and ports are sampled before anybody is told', async () => {
  let resolve: (ports: number[]) => void = () => {}
  const sampled = new Promise<number[]>((settle) => {
    resolve = settle
  })
  const told: NatHint[] = []
  const quick = new QuickNat(silent, () => sampled)
  const stop = quick.onHint(() => told.push(quick.hint))
  quick.add(seen('192.0.2.1', 4000))
  assert.equal(quick.hint.mapping, 'unknown')
  quick.add(seen('192.0.2.2', 4003))
  assert.equal(quick.hint.mapping, 'address-dependent')
  assert.equal(told.length, 0)
  resolve([5000, 5001, 5002, 5003])
  await sampled
  await Promise.resolve()
  assert.equal(told.length, 1)
  assert.deepEqual(told[0]?.allocation, { kind: 'sequential', step: 1 })
  stop()
  quick.add(seen('192.0.2.3', 4004))
  assert.equal(told.length, 1)
})

test('the same port twice makes it endpoint-independent, and nothing is sampled', () => {
  const quick = new QuickNat(silent, () => assert.fail('nothing to sample'))
  quick.add(seen('192.0.2.1', 4000))
  quick.add(seen('192.0.2.2', 4000))
  assert.equal(quick.hint.mapping, 'endpoint-independent')
})

test('fresh sockets are sampled in their order, and those without an answer are left out', async () => {
  const server = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
  const [endpoint] = server.endpoints
  assert.ok(endpoint)
  const ports = Array.from({ length: 5 }, () => UdpPort.open({ address: '127.0.0.1' }))
  const own = ports.map((port) => port.local(4)?.port)
  const options = {
    clock: systemClock,
    random: systemRandom,
    signal: new AbortController().signal,
    timeout: 20_000,
  }
  assert.deepEqual(await samplePorts(ports, endpoint, options), own)
  assert.deepEqual(await samplePorts([], endpoint, options), [])
  await server.close()
  assert.deepEqual(await samplePorts(ports, endpoint, { ...options, timeout: 50 }), [])
  await Promise.all(ports.map((port) => port.close()))
})
