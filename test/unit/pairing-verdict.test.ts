import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { ownAddresses, parseEndpoint } from '../../src/net/index.js'
import { peerFailure } from '../../src/pairing/farewell.js'
import { decodeMessage, encodeMessage, type Message } from '../../src/pairing/message.js'
import { isCertain, verdict } from '../../src/pairing/verdict.js'
import { type Candidate, type NatHint, NO_HINT, type Prospect } from '../../src/punch/index.js'
import { World } from '../support/world.js'

const candidate = (text: string): Candidate => {
  const [kind, where] = text.split(' ') as [Candidate['kind'], string]
  return { kind, endpoint: parseEndpoint(where) }
}

const side = (nat: Partial<NatHint>, ...candidates: string[]): Prospect => ({
  nat: { ...NO_HINT, ...nat },
  candidates: candidates.map(candidate),
  seek: true,
  sockets: 512,
})

const LAN = 'host 192.168.1.2:4000'
const OUTSIDE = 'reflexive 203.0.113.5:4000'
const SYMMETRIC = { mapping: 'address-dependent' } as const
const RANDOM = { ...SYMMETRIC, allocation: { kind: 'random' }, ports: [40_000, 2000, 30_000, 7000] } as const
const SEQUENTIAL = {
  ...SYMMETRIC,
  allocation: { kind: 'sequential', step: 1 },
  ports: [4000, 4001, 4002, 4003],
} as const
const symmetric = side(SYMMETRIC, LAN, OUTSIDE)
const random = side(RANDOM, LAN, OUTSIDE)
const elsewhere = side(RANDOM, LAN, 'reflexive 203.0.113.77:4000')
const sequential = side(SEQUENTIAL, LAN, OUTSIDE)
const cone = side({ mapping: 'endpoint-independent' }, LAN, OUTSIDE)
const unknown = side({}, LAN, OUTSIDE)
const fixed = { ...random, sockets: 0 }
const forbidden = { ...cone, seek: false, sockets: 0 }

/** Which of them is a path that cannot exist. */
const TABLE: readonly (readonly [string, Prospect, Prospect, RegExp | undefined])[] = [
  ['two symmetric NATs', symmetric, symmetric, /symmetric NAT on both sides\./],
  ['random ports on both sides', random, elsewhere, /symmetric NAT with random ports on both sides\./],
  ['random ports here', random, sequential, /symmetric NAT on both sides, with random ports on this one\./],
  ['random ports there', symmetric, random, /symmetric NAT on both sides, with random ports at the peer\./],
  ['sequences on both sides', sequential, sequential, /both sides, and their ports could not be predicted\./],
  ['a symmetric NAT and another', symmetric, cone, undefined],
  ['a symmetric NAT and an unknown one', symmetric, unknown, undefined],
  ['two unknown NATs', unknown, unknown, undefined],
  ['a port mapping', symmetric, side(SYMMETRIC, LAN, 'mapped 203.0.113.9:4000'), undefined],
  [
    'a port mapping behind another NAT',
    symmetric,
    side(SYMMETRIC, 'mapped 100.64.0.9:4000'),
    /symmetric NAT/,
  ],
  [
    'a NAT that lets everybody in',
    symmetric,
    side({ ...RANDOM, filtering: 'endpoint-independent' }),
    undefined,
  ],
  ['a relay', side(SYMMETRIC, LAN, 'relayed 203.0.113.9:4000'), symmetric, undefined],
  ['a public address', symmetric, side(SYMMETRIC, 'host 203.0.113.9:4000'), undefined],
  [
    'IPv6 on both sides',
    side(SYMMETRIC, LAN, 'host [2001:db8::1]:4000'),
    side(SYMMETRIC, LAN, 'host [2001:db8::2]:4000'),
    undefined,
  ],
  [
    'IPv6 on one side',
    side(SYMMETRIC, LAN, 'host [2001:db8::1]:4000'),
    symmetric,
    /symmetric NAT on both sides/,
  ],
  [
    'no family in common',
    side({}, LAN),
    side({}, 'host [2001:db8::1]:4000'),
    /this side only has IPv4, the peer only IPv6/,
  ],
  ['a peer without candidates', side({}, LAN), side({}), undefined],
]

for (const [what, own, peer, expected] of TABLE) {
  test(`a punch that failed with ${what} ${expected ? 'could not work' : 'may work another time'}`, () => {
    const error = verdict(own, peer)
    if (expected === undefined) {
      assert.equal(error, undefined)
      return
    }
    assert.equal(error?.code, 'NO_PATH')
    assert.match(error?.message ?? '', expected)
  })
}

test('a search that the flags do not allow is named as the cause, on whichever side they stand', () => {
  const cases: [Prospect, Prospect, RegExp][] = [
    [fixed, cone, /symmetric NAT on this side, and this side has a fixed port/],
    [cone, fixed, /symmetric NAT at the peer, and the peer has a fixed port/],
    [random, forbidden, /symmetric NAT on this side, and the peer does not search ports/],
    [forbidden, random, /symmetric NAT at the peer, and this side does not search ports/],
  ]
  for (const [own, peer, words] of cases) {
    const error = verdict(own, peer)
    assert.equal(error?.code, 'PUNCH_TIMEOUT')
    assert.match(error?.message ?? '', words)
  }
})

test('only what both sides have shown is certain before time is up', () => {
  assert.ok(isCertain(random, elsewhere))
  assert.ok(isCertain(random, side(SEQUENTIAL, LAN, 'reflexive 203.0.113.77:4000')))
  // one address outside: one NAT, and what its inside makes possible
  for (const other of [random, symmetric, sequential, cone, unknown]) assert.ok(!isCertain(random, other))
  assert.ok(!isCertain(sequential, side(SEQUENTIAL, LAN, 'reflexive 203.0.113.77:4000')))
  assert.ok(!isCertain(elsewhere, side(RANDOM, LAN, 'mapped 203.0.113.9:4000')))
})

const header = {
  from: { owner: 'alice@px.test', pin: 'laptop' },
  to: { owner: 'bob@px.test', pin: 'server' },
  app: 'test',
  session: 'ab'.repeat(16),
  time: 1,
  expires: 2,
}

test('what a side gives up for and finds out late comes through whole', () => {
  const messages: Message[] = [
    { ...header, kind: 'abort', code: 'NO_PATH', sentence: 'No path.' },
    { ...header, kind: 'update', candidates: [], nat: { ...NO_HINT, ...SEQUENTIAL } },
    { ...header, kind: 'update', candidates: [], nat: { ...NO_HINT, ...RANDOM, pooling: 'arbitrary' } },
    { ...header, kind: 'refusal', code: 'COMMAND_MISSING', sentence: 'It is gone.' },
  ]
  for (const message of messages) assert.deepEqual(decodeMessage(encodeMessage(message)), message)
})

test('an abort with a code that is none, and a purpose that is not known, are dropped', () => {
  const abort = JSON.parse(
    encodeMessage({ ...header, kind: 'abort', code: 'X', sentence: 'x' }).toString(),
  ) as object
  for (const code of [undefined, '', 'no path', 'A'.repeat(33), '\u001b[2J', 7]) {
    assert.throws(
      () => decodeMessage(Buffer.from(JSON.stringify({ ...abort, code }))),
      /its code|code is not/,
    )
  }
  const invite = JSON.parse(
    encodeMessage({
      ...header,
      kind: 'invite',
      purpose: 'ping',
      reply: Buffer.alloc(32),
      offer: { key: Buffer.alloc(32), candidates: [], nat: NO_HINT, can: [] },
    }).toString(),
  ) as object
  for (const purpose of ['', 'dance', 7, null]) {
    assert.throws(() => decodeMessage(Buffer.from(JSON.stringify({ ...invite, purpose }))), /its purpose/)
  }
})

test('what a peer says becomes a failure of its kind, never a mistake of this side', () => {
  const said = (kind: 'refusal' | 'abort', code: string) =>
    peerFailure('bob', { ...header, kind, code, sentence: 'Because.' } as Parameters<typeof peerFailure>[1])
  assert.equal(said('abort', 'NO_PATH').code, 'NO_PATH')
  assert.equal(said('refusal', 'COMMAND_MISSING').code, 'PEER_COMMAND')
  assert.equal(said('abort', 'EXEC_PWD').code, 'PEER_COMMAND')
  assert.equal(said('refusal', 'BUSY').code, 'BUSY')
  assert.equal(said('abort', 'BUSY').code, 'PEER_ABORTED')
  assert.equal(said('abort', 'REPOSITORY').code, 'PEER_ABORTED')
  for (const code of ['COMMAND_MISSING', 'EXEC_LOG', 'BAD_FLAG'])
    assert.equal(said('abort', code).exitCode, 1)
})

test('an accepter without a network says so at once, and the inviter hears it', {
  skip: ownAddresses().length === 0 && 'this machine has no network either',
}, async () => {
  const [alice, bob] = ['alice@px.test/laptop', 'bob@px.test/server']
  const world = await World.create([alice, bob])
  try {
    // bound to its loopback it has no other address, and nobody who could tell it one
    const accepter = await world.accepter(bob, { stunServers: [], bind: { address: '127.0.0.1' } })
    await assert.rejects(
      world.invite(alice, bob, { stunServers: [] }),
      (error) =>
        error instanceof PlexusError && error.code === 'NO_PATH' && /gave up: .*loopback/.test(error.message),
    )
    assert.equal(accepter.log.count(/the pairing failed: .*loopback.*"NO_PATH"/), 1)
  } finally {
    await world.close()
  }
})
