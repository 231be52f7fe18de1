import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import {
  canonicalAddress,
  formatEndpoint,
  parseEndpoint,
  parseHostPort,
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
