import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { checkIdentityName, formatIdentity, isIdentityName, parseIdentity } from '../../src/identity/index.js'

const refused = (error: unknown) => error instanceof PlexusError && error.code === 'IDENTITY_NAME'

test('an identity is written as it is read', () => {
  for (const text of ['alice@example.com/laptop', 'a/b', 'Ünï çödé/рабочий', '.hidden/-x']) {
    assert.equal(formatIdentity(parseIdentity(text)), text)
  }
  assert.deepEqual(parseIdentity('alice@example.com/laptop'), { owner: 'alice@example.com', pin: 'laptop' })
})

test('what a shell or a wildcard would take for more is only characters of a name', () => {
  for (const text of [
    '$(id)@x/`reboot`',
    '%peerip%/%secret%',
    'a b/c  d',
    'it\'s/"quoted"',
    'a;b/c|d&e',
    '*/?',
  ]) {
    assert.equal(formatIdentity(parseIdentity(text)), text)
  }
})

test('names that are no plain names are refused', () => {
  const bad = [
    '',
    '.',
    '..',
    'a\\b',
    'a\nb',
    'a\rb',
    'a\tb',
    'a\0b',
    'a\x7fb',
    'a\x85b',
    ' a',
    'a ',
    '\u00a0a',
  ]
  bad.push('a\u2028b', 'a\u202eb', '\ud800', 'a\ufffdb', 'a'.repeat(256), 'é'.repeat(128))
  for (const part of bad) {
    assert.throws(() => parseIdentity(`${part}/pin`), refused, JSON.stringify(part))
    assert.throws(() => parseIdentity(`owner/${part}`), refused, JSON.stringify(part))
    assert.throws(() => checkIdentityName({ owner: 'owner', pin: part }), refused, JSON.stringify(part))
    assert.equal(isIdentityName({ owner: part, pin: 'pin' }), false, JSON.stringify(part))
  }
  for (const text of ['', 'a', 'a/', '/a', 'a/b/c', '../../etc', '/etc/passwd', 'a//b']) {
    assert.throws(() => parseIdentity(text), refused, text)
  }
  assert.throws(() => checkIdentityName({ owner: 'a/b', pin: 'c' }), refused)
  assert.equal(isIdentityName({ owner: 'a'.repeat(255), pin: 'é'.repeat(127) }), true)
})

test('the message about a bad name fits on one line and shows what cannot be seen', () => {
  assert.throws(
    () => parseIdentity(`a\u202e\nb${'x'.repeat(9999)}/pin`),
    (error) =>
      error instanceof PlexusError &&
      error.message.includes('\\u202e\\nb') &&
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the claim
      !/[\u0000-\u001f\u202e]/.test(error.message) &&
      error.message.length < 200,
  )
})
