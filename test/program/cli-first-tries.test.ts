import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { likely, unknownCommand, unknownFlag } from '../../src/cli/flags/suggestions.js'
import { plexus } from '../support/cli.js'

// What people type who know other programs, and what they are told.

describe('an unknown command is answered with the one that was meant, or with what does it here', () => {
  const commands = ['id', 'check', 'ping', 'nat', 'wormhole', 'stun-server', 'dht-node', 'rendezvous', 'demo']
  const told: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['up', [], /--accept.*--peer-info/],
    ['status', [], /SIGUSR2/],
    ['share', ['22'], /plexus --accept --export 22/],
    ['connect', ['bob'], /plexus --peer-info=bob --import/],
    ['ssh', ['server'], /ProxyCommand plexus --peer-info=server --stdio=ssh/],
    ['pingg', [], /Did you mean 'plexus ping'/],
    ['stun', [], /plexus nat/],
    ['rendez', [], /Did you mean 'plexus rendezvous'/],
    ['server', [], /--accept/],
    ['frobnicate', [], /plexus --help/],
    ['constructor', [], /plexus --help/],
  ]
  for (const [word, rest, advice] of told) {
    test(`${word} ${rest.join(' ')}`, () => assert.match(unknownCommand(word, rest, commands).advice, advice))
  }
  test('what was typed forges no line of the terminal', () => {
    assert.doesNotMatch(unknownCommand('a\u001b[2Jb', [], commands).message, /\p{C}/u)
  })
})

describe('an unknown flag is answered with the one that was meant, or with what does it here', () => {
  const flags = ['accept', 'app-id', 'app-repo', 'host-info', 'peer-info', 'keep', 'stun-server', 'as']
  const told: readonly (readonly [string, RegExp])[] = [
    ['--peer', /Did you mean --peer-info/],
    ['--info', /Did you mean --host-info/],
    ['--keap', /Did you mean --keep/],
    ['--acept', /Did you mean --accept/],
    ['--stun-sever', /Did you mean --stun-server/],
    ['-L', /--import ssh=2222 here and --export ssh=22 on the peer/],
    ['-R', /--export web=80 here/],
    ['-D', /no SOCKS proxy/],
    ['--pear', /See plexus --help/],
    ['--xyzzy', /See plexus --help/],
  ]
  for (const [flag, advice] of told) {
    test(flag, () => assert.match(unknownFlag(flag, flags).advice, advice))
  }
  test('a word is not taken for another of which half the letters differ', () => {
    assert.equal(likely('peer', ['keep']), undefined)
    assert.equal(likely('L', ['as']), undefined)
  })
})

describe('on the command line', () => {
  test('a cluster of ssh is one word to it', async () => {
    const { code, stderr } = await plexus(['-L', '2222:localhost:22', 'bob'])
    assert.equal(code, 2)
    assert.match(stderr, /Unknown flag '-L'.*--import ssh=2222/)
  })
  for (const [given, meant] of [
    ['ssh:2222', 'ssh=2222'],
    ['db=server:5432', 'db=5432'],
    ['udp:dns:53', 'dns=53'],
  ] as const) {
    test(`--import ${given} is no address of this machine`, async () => {
      const { code, stderr } = await plexus(['--peer-info', 'bob@example.com/server', '--import', given])
      assert.equal(code, 2)
      assert.ok(stderr.includes(`Did you mean --import ${meant}?`), stderr)
    })
  }
  test('nothing at all: what to do first', async () => {
    const { code, stderr } = await plexus([], '', { PLEXUS_OPT_APP_REPO: '/nonexistent' })
    assert.equal(code, 2)
    assert.match(stderr, /plexus id new you@example\.com\/laptop/)
  })
})
