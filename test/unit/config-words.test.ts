import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { credentialOf } from '../../rendezvous/email/credential.js'
import { openRendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { PAIRING_FLAGS } from '../../src/cli/flags/flags.js'
import { environmentSource } from '../../src/cli/flags/settled.js'
import { Values } from '../../src/cli/flags/values.js'
import { PlexusError } from '../../src/errors/index.js'
import { parseIdentity } from '../../src/identity/index.js'
import { silent } from '../../src/net/index.js'

// What is written in a configuration means what it seems to mean, or is refused: nothing is another value in silence.

const coded = (code: string, words: RegExp) => (error: unknown) =>
  error instanceof PlexusError && error.code === code && words.test(error.message)

describe('a value of a flag', () => {
  for (const [what, value, words] of [
    ['a carriage return at its end', 'vpn\r', /PLEXUS_OPT_APP_ID contains a carriage return/],
    ['a space at its end', 'vpn ', /begins or ends with a space/],
    ['a space that does not break', 'vpn\u00a0', /begins or ends with a space/],
    ['a mark of byte order', '\ufeffvpn', /U\+FEFF/],
    ['a character without a width', 'v\u200bpn', /U\+200B/],
    ['a tab', 'v\tpn', /U\+0009/],
  ] as const) {
    test(`with ${what} is refused`, () => {
      const values = new Values({}, [environmentSource({ PLEXUS_OPT_APP_ID: value }, PAIRING_FLAGS)])
      assert.throws(() => values.text('app-id'), coded('BAD_FLAG', words))
    })
  }
  test('one of several with a carriage return is refused too', () => {
    const lines = { PLEXUS_OPT_STUN_SERVER: 'a.example\r\nb.example\r\n' }
    const values = new Values({}, [environmentSource(lines, PAIRING_FLAGS)])
    assert.throws(() => values.many('stun-server'), coded('BAD_FLAG', /carriage return/))
  })
  test('a password may end with a space, and the words of a command hold anything', () => {
    const given = { 'email-password': 'open sesame ', 'exec-args': "'a\tb' " }
    const values = new Values(given)
    assert.equal(values.text('email-password'), 'open sesame ')
    assert.equal(values.text('exec-args'), "'a\tb' ")
  })
})

describe('the URL of a rendezvous', () => {
  let directory = ''
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'plexus-words-'))
  })
  after(() => rmSync(directory, { recursive: true, force: true }))
  for (const [url, words] of [
    ['dir:/srv/team#1', /write # in a path as %23/],
    ['dir:/srv/team?latencey=5', /no option 'latencey'; its options are latency/],
    ['dir:/srv/team?latency=5&latency=6', /'latency' is given twice/],
    ['exec:/bin/true#1', /write # in a path as %23/],
    ['exec:/bin/true?pol=5', /no option 'pol'; its options are latency and poll/],
    ['dht:192.0.2.1:49737?fast=1', /takes no options/],
    ['email:box@example.com?x=1', /does not name a mailbox/],
    ['email:box@example.com#1', /does not name a mailbox/],
  ] as const) {
    test(`${url} is refused`, async () => {
      const context = {
        clock: systemClock,
        random: systemRandom,
        log: silent,
        stateDirectory: directory,
        options: {
          'email-smtps': 'localhost',
          'email-imaps': 'localhost',
          'email-login': 'a',
          'email-password': 'b',
        },
        environment: process.env,
      }
      await assert.rejects(openRendezvous([url], context), coded('BAD_RENDEZVOUS', words))
    })
  }
})

test('the two forms of one letter are not two identities, and nothing unseen is in a name', () => {
  assert.equal(parseIdentity('j\u00fcrgen@example.com/laptop').owner, 'j\u00fcrgen@example.com')
  for (const name of [
    'ju\u0308rgen@example.com/laptop',
    'bob@example.com/cafe\u0301',
    'bob\u200b@example.com/laptop',
    'bo\u00adb@example.com/laptop',
  ]) {
    assert.throws(() => parseIdentity(name), coded('IDENTITY_NAME', /NFC|control character/))
  }
})

describe('a file with a password', () => {
  let directory = ''
  const path = (name: string) => join(directory, name)
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'plexus-secret-'))
    execFileSync('mkfifo', ['-m', '600', path('pipe')])
  })
  after(() => rmSync(directory, { recursive: true, force: true }))
  const read = (name: string) =>
    credentialOf({ 'email-password-file': path(name) }).get(new AbortController().signal)

  for (const [what, content] of [
    ['a line end', 'open sesame\n'],
    ['a line end of Windows', 'open sesame\r\n'],
    ['a mark of byte order', '\ufeffopen sesame\n'],
    ['no line end', 'open sesame'],
  ] as const) {
    test(`is read with ${what}`, async () => {
      writeFileSync(path('password'), content, { mode: 0o600 })
      assert.deepEqual(await read('password'), { is: 'password', value: 'open sesame' })
    })
  }
  test('that is a pipe, a folder or a device is refused, and holds nothing up', async () => {
    for (const name of ['pipe', '.', '../../dev/null']) {
      await assert.rejects(read(name), (error) => error instanceof PlexusError && error.exitCode === 2)
    }
  })
})
