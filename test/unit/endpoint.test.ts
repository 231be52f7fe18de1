import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import {
  canonicalAddress,
  formatEndpoint,
  parseEndpoint,
  parseHostPort,
  prefixOf,
  type Scope,
  scopeOf,
} from '../../src/net/index.js'

test('an endpoint is written as it is read', () => {
  for (const text of ['192.0.2.1:53', '[2001:db8::1]:3478', '0.0.0.0:0']) {
    assert.equal(formatEndpoint(parseEndpoint(text)), text)
  }
  assert.deepEqual(parseHostPort('stun.example.org', 3478), { host: 'stun.example.org', port: 3478 })
  assert.deepEqual(parseHostPort('2001:db8::1', 7), { host: '2001:db8::1', port: 7 })
})

test('an address has one text', () => {
  assert.equal(canonicalAddress('2001:DB8:0:0::1'), '2001:db8::1')
  assert.equal(canonicalAddress('::ffff:192.0.2.7'), '192.0.2.7')
})

test('what is no endpoint is refused by name', () => {
  for (const text of [
    '',
    ':1',
    'a:b',
    'a:70000',
    '[::1',
    '[1.2.3.4]:5',
    'a b:1',
    'host:-1',
    'host:',
    '$(id):1',
  ]) {
    assert.throws(
      () => parseHostPort(text, 1),
      (error) => error instanceof PlexusError && error.code === 'BAD_ENDPOINT',
      text,
    )
  }
})

test('addresses fall into their scopes', () => {
  assert.equal(scopeOf('10.1.2.3'), 'private')
  assert.equal(scopeOf('100.64.0.1'), 'shared')
  assert.equal(scopeOf('fe80::1'), 'link-local')
  assert.equal(scopeOf('::1'), 'loopback')
  assert.equal(scopeOf('224.0.0.1'), 'unusable')
  assert.equal(scopeOf('8.8.8.8'), 'global')
  assert.equal(scopeOf('nonsense'), 'unusable')
})

const SPECIAL: readonly (readonly [Scope, readonly string[]])[] = [
  [
    'documentation',
    ['192.0.2.1', '198.51.100.254', '203.0.113.0', '2001:db8::1', '2001:db8:ffff::', '3fff::1'],
  ],
  ['reserved', ['198.18.0.1', '198.19.255.255', '192.0.0.11', '5f00::1', '2001:20::1']],
  ['shared', ['100.64.0.1', '100.127.255.254', '192.0.0.1', '192.0.0.2', '192.0.0.7']],
  [
    'translated',
    ['64:ff9b::808:808', '64:ff9b::8.8.8.8', '64:ff9b:1::1', '2002:808:808::1', '2001:0:4136::1'],
  ],
  [
    'unusable',
    ['64:ff9b::127.0.0.1', '64:ff9b::10.0.0.1', '2002:7f00:1::', '2002:a00:1::1', '64:ff9b::a9fe:a9fe'],
  ],
  [
    'unusable',
    ['0.1.2.3', '192.0.0.8', '192.0.0.170', '255.255.255.255', '240.0.0.1', '::8.8.8.8', '100::1', 'ff02::1'],
  ],
  ['private', ['192.168.0.1', '172.31.255.255', 'fd00::1', 'fec0::1']],
  [
    'global',
    ['192.0.0.9', '192.0.0.10', '192.0.1.1', '198.17.1.1', '198.20.0.1', '100.128.0.1', '172.32.0.1'],
  ],
  [
    'global',
    ['2001:4860:4860::8888', '2001:200::1', '2001:4:112::1', '2003::1', '::ffff:8.8.8.8', '2001:1::1'],
  ],
]

for (const [scope, addresses] of SPECIAL) {
  test(`the special ranges of the internet: ${addresses.join(', ')} is ${scope}`, () => {
    assert.deepEqual(
      addresses.map(scopeOf),
      addresses.map(() => scope),
    )
  })
}

test('what a limit counts as one address is an IPv4 address, or a /64', () => {
  for (const [address, prefix] of [
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:0:0:ffff:ffff:ffff:ffff', '2001:db8:0:0::/64'],
    ['2001:db8:0:1::', '2001:db8:0:1::/64'],
    ['::1', '0:0:0:0::/64'],
  ] as const)
    assert.equal(prefixOf(address), prefix)
})
