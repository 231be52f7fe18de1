import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { ownAddresses, parseEndpoint } from '../../src/net/index.js'
import { peerFailure } from '../../src/pairing/farewell.js'
import { decodeMessage, encodeMessage, type MappingHint, type Message } from '../../src/pairing/message.js'
import { type Prospects, verdict } from '../../src/pairing/verdict.js'
import type { Candidate } from '../../src/punch/index.js'
import { World } from '../support/world.js'

const candidate = (text: string): Candidate => {
  const [kind, where] = text.split(' ') as [Candidate['kind'], string]
  return { kind, endpoint: parseEndpoint(where) }
}

const side = (mapping: MappingHint, ...candidates: string[]): Prospects => ({
  mapping,
  candidates: candidates.map(candidate),
})

const LAN = 'host 192.168.1.2:4000'
const OUTSIDE = 'reflexive 203.0.113.5:4000'
const symmetric = side('address-dependent', LAN, OUTSIDE)

/** Which of them is a path that cannot exist. */
const TABLE: readonly (readonly [string, Prospects, Prospects, RegExp | undefined])[] = [
  ['two symmetric NATs', symmetric, symmetric, /symmetric NAT on both sides/],
  ['a symmetric NAT and another', symmetric, side('endpoint-independent', LAN, OUTSIDE), undefined],
  ['a symmetric NAT and an unknown one', symmetric, side('unknown', LAN, OUTSIDE), undefined],
  ['two unknown NATs', side('unknown', LAN), side('unknown', LAN), undefined],
  ['a port mapping', symmetric, side('address-dependent', LAN, 'mapped 203.0.113.9:4000'), undefined],
  ['a relay', side('address-dependent', LAN, 'relayed 203.0.113.9:4000'), symmetric, undefined],
  ['a public address', symmetric, side('address-dependent', 'host 203.0.113.9:4000'), undefined],
  [
    'IPv6 on both sides',
    side('address-dependent', LAN, 'host [2001:db8::1]:4000'),
    side('address-dependent', LAN, 'host [2001:db8::2]:4000'),
    undefined,
  ],
  [
    'IPv6 on one side',
    side('address-dependent', LAN, 'host [2001:db8::1]:4000'),
    symmetric,
    /symmetric NAT on both sides/,
  ],
  [
    'no family in common',
    side('unknown', LAN),
    side('unknown', 'host [2001:db8::1]:4000'),
    /this side has IPv4 alone, the peer IPv6 alone/,
  ],
  ['a peer without candidates', side('unknown', LAN), side('unknown'), undefined],
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
    { ...header, kind: 'update', candidates: [], mapping: 'address-dependent' },
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
      offer: { key: Buffer.alloc(32), candidates: [], mapping: 'unknown', can: [] },
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
