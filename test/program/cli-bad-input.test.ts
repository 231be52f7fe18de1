import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { run } from '../support/program.js'

const directory = mkdtempSync(join(tmpdir(), 'plexus-bad-input-'))
const repository = join(directory, 'repo')

/** A command line that is right: each row of the table spoils it. */
const GOOD = [
  `--app-repo=${repository}`,
  '--host-info=alice@example.com/laptop',
  '--peer-info=bob@example.com/server',
  `--rendezvous=dir:${join(directory, 'post')}`,
  `--state-dir=${join(directory, 'state')}`,
  '--stun-server=127.0.0.1:9',
]

/** What is wrong, what is added to a good command line, and what the one line of refusal has to name. */
const TABLE: readonly (readonly [string, readonly string[], ...RegExp[]])[] = [
  ['a number that is none', ['--punch-hops=abc'], /--punch-hops is 'abc'/, /whole number from 1 to 255/],
  ['a negative number', ['--punch-hops', '-5'], /--punch-hops is '-5'/, /whole number/],
  ['a number out of bounds', ['--nat-hops=256'], /--punch-hops is '256'/, /from 1 to 255/],
  ['a fraction', ['--timeout=1.5'], /--timeout is '1.5'/, /whole number/],
  ['an unknown flag', ['--frobnicate=1'], /Unknown flag '--frobnicate'/],
  ['a mistyped flag', ['--accpet'], /'--accpet'/, /Did you mean --accept/],
  ['a word that is no command', ['frobnicate'], /Unknown command 'frobnicate'/],
  ['a single flag given twice', ['--app-id=a', '--app-id=b'], /--app-id is given 2 times/],
  ['a flag and its alias', ['--app-id=a', '--app-name=b'], /--app-id is given 2 times/],
  ['a switch given twice', ['--accept', '--accept'], /--accept is given twice/],
  ['a switch with a value', ['--accept=maybe'], /--accept is 'maybe'/, /without a value/],
  ['a flag without its value', ['--app-id', '--accept'], /--app-id is given without a value/],
  ['the last flag without its value', ['--app-id'], /--app-id is given without a value/],
  ['an empty value', ['--app-id='], /--app-id is ''/, /a value/],
  ['a directory for no command', ['--config=/dev/null', '--exec-pwd=/'], /--exec-pwd is given without/],
  ['a STUN server that is none', ['--stun-server=a:b:c'], /--stun-server is 'a:b:c'/, /host/],
  ['a STUN port that is none', ['--stun-server=host:99999'], /--stun-server is 'host:99999'/],
  ['a bootstrap without a port', ['--dht-bootstrap=host'], /--dht-bootstrap is 'host'/, /host:port/],
  ['a local address that is none', ['--stun-client=abc'], /--stun-client is 'abc'/, /ip\[:port\]/],
  ['an address of another machine', ['--stun-client=192.0.2.77'], /192\.0\.2\.77/, /ADDRESS_UNAVAILABLE/],
  ['a range from high to low', ['--port-range=9-2'], /--port-range is '9-2'/, /from-to/],
  ['a range that is none', ['--port-range=ports'], /--port-range is 'ports'/],
  [
    'a range beside a port',
    ['--port-range=4000-4010', '--stun-client=127.0.0.1:5000'],
    /--port-range/,
    /--stun-client/,
  ],
  ['a level that is none', ['--log-level=loud'], /--log-level is 'loud'/, /fatal, error, warning/],
  ['a log file nowhere', ['--log-file=/nowhere/log'], /--log-file: \/nowhere\/log/],
  ['a policy that is none', ['--on-repeat=shrug'], /--on-repeat is 'shrug'/, /replace, parallel, refuse/],
  [
    'a configuration that is missing',
    ['--config=/nowhere/plexus.conf'],
    /--config is '\/nowhere\/plexus.conf'/,
  ],
  ['a result nowhere', ['--result=/nowhere/result'], /--result: \/nowhere\/result/],
  ['a result that is a directory', [`--result=${directory}`], /--result: .* is a directory/],
  ['a command that is missing', ['--exec-command=/nowhere/run'], /\/nowhere\/run/, /COMMAND_MISSING/],
  ['arguments without a command', ['--exec-args=%peerip%'], /--exec-args is given without --exec-command/],
  ['a pipe in the arguments', ['--exec-command=/bin/sh', '--exec-args=a | b'], /BAD_EXEC_ARGS/],
  ['the key in the arguments', ['--exec-command=/bin/sh', '--exec-args=%key%'], /%key%/, /--exec-args/],
  ['an unknown wildcard', ['--exec-command=/bin/sh', '--exec-env=A=%wrong%'], /%wrong%/, /--exec-env/],
  [
    'a variable without a value',
    ['--exec-command=/bin/sh', '--exec-env=word'],
    /--exec-env has 'word'/,
    /NAME=value/,
  ],
  ['a variable of plexus', ['--exec-command=/bin/sh', '--exec-env=PLEXUS_KEY=1'], /PLEXUS_KEY/],
  [
    'a working directory nowhere',
    ['--exec-command=/bin/sh', '--exec-pwd=/nowhere'],
    /The working directory \/nowhere of the command does not exist/,
  ],
  [
    'an output nowhere',
    ['--exec-command=/bin/sh', '--exec-log=/nowhere/log'],
    /\/nowhere\/log is in.*--exec-log/,
  ],
  ['a rendezvous that is none', ['--rendezvous=?'], /'\?'/, /BAD_RENDEZVOUS/],
  [
    'an account without a login',
    ['--rendezvous=email:', '--email-smtps=a', '--email-imaps=a'],
    /--email-login is missing/,
  ],
  [
    'an account without a secret',
    ['--rendezvous=email:', '--email-smtps=a', '--email-imaps=a', '--email-login=me'],
    /--email-password-file, .* is missing/,
  ],
  [
    'a mail server without TLS',
    [
      '--rendezvous=email:',
      '--email-smtps=http://a',
      '--email-imaps=a',
      '--email-login=me',
      '--email-password-file=/nowhere',
    ],
    /--email-smtps is 'http:\/\/a'/,
    /STARTTLS/,
  ],
  ['keeping on an accepter', ['--accept', '--keep'], /--keep is for an inviter/],
  ['keeping without a command', ['--keep'], /--keep needs --exec-command/],
  ['once on an inviter', ['--once'], /--once is for an accepter/],
  ['keeping and once', ['--keep', '--once', '--import=0'], /--keep and --once/],
  ['an export that is none', ['--export=ssh'], /--export is 'ssh'/, /\[name=\]\[host:\]port/],
  ['an export at no port', ['--export=ssh=0'], /'ssh' at port 0/],
  ['an export with a stray option', ['--export=ssh=22,user=x'], /--export is 'ssh=22,user=x'/],
  ['an import that is none', ['--import=unix:here'], /--import is 'unix:here'/],
  ['two exports of one name', ['--export=a=22', '--export=a=23'], /the name 'a' twice/, /22 and .*23/],
  [
    'two exports of one name, both for one peer',
    ['--accept', '--export=a=22,peer=bob', '--export=a=23,peer=bob'],
    /the name 'a' twice/,
  ],
  ['a peer for an inviter', ['--import=ssh=0,peer=bob'], /--import has ,peer=/, /--peer-info/],
  [
    'an export for a peer that may not pair',
    ['--accept', '--export=22,peer=laptop'],
    /--export is for alice@example.com\/laptop, but --peer-info allows only bob/,
  ],
  ['an export for nobody known', ['--accept', '--export=22,peer=nobody'], /--export: No identity/],
  ['a command beside an export', ['--export=22', '--exec-command=/bin/sh'], /--exec-command is given/],
  ['standard streams on an accepter', ['--accept', '--stdio=ssh'], /--stdio is for an inviter/],
  ['standard streams beside an import', ['--stdio=ssh', '--import=0'], /--import is given, but --stdio/],
  ['standard streams under no name', ['--stdio=a/b'], /--stdio is 'a\/b'/],
  ['waiting for no import', ['--wait=5'], /--wait is given, which needs --import/],
  ['a wait that is none', ['--import=0', '--wait=long'], /--wait is 'long'/],
  ['an address of another machine to import at', ['--import=x=192.0.2.77:80'], /192\.0\.2\.77:80/],
  ['our wormhole without arguments', ['--exec-command=wormhole'], /--exec-args with --purpose/],
  ['a line break in a value', ['--log-level=a\nb'], /--log-level contains an invisible character/],
]

describe('bad input ends the program with code 2 and one line, before anything is sent', () => {
  before(async () => {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    for (const name of ['alice@example.com/laptop', 'bob@example.com/server']) {
      await createIdentity(repository, parseIdentity(name), options)
    }
    mkdirSync(join(directory, 'empty'))
    mkdirSync(join(directory, 'post'))
    writeFileSync(join(directory, 'file'), '')
  })
  after(() => rmSync(directory, { recursive: true, force: true }))

  const refused = async (args: readonly string[], patterns: readonly RegExp[], env = {}) => {
    const { code, stdout, stderr } = await run(args, { env })
    assert.equal(code, 2, stderr)
    assert.equal(stdout, '')
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
    for (const pattern of patterns) assert.match(stderr, pattern)
  }

  for (const [what, args, ...patterns] of TABLE) {
    test(what, () => refused([...GOOD, ...args], patterns))
  }

  const without = (flag: string) => GOOD.filter((word) => !word.startsWith(flag))

  test('no peer for an inviter', () =>
    refused(without('--peer-info'), [/Neither --peer-info nor --accept is given/]))

  test('a short name that nobody has', () =>
    refused(
      [...without('--peer-info'), '--peer-info=nobody'],
      [/--peer-info: No identity/, /"nobody"/, /owner\/pin/],
    ))

  test('a repository that is missing', () =>
    refused([...without('--app-repo'), '--app-repo=/nowhere'], [/\/nowhere/, /--app-repo/]))

  test('a peer that the repository does not know', () =>
    refused([...without('--peer-info'), '--peer-info=eve@example.com/x'], [/eve@example.com\/x/]))

  test('an identity of somebody else', async () => {
    const foreign = [...without('--host-info'), '--host-info=eve@example.com/x']
    await refused(foreign, [/eve@example.com\/x/])
  })

  test('a state directory that is a file', () =>
    refused([...without('--state-dir'), `--state-dir=${join(directory, 'file')}`], [/STATE_DIRECTORY/]))

  test('a wrong variable of the environment is named', () =>
    refused(GOOD, [/PLEXUS_OPT_PUNCH_HOPS is 'many'/], { PLEXUS_OPT_PUNCH_HOPS: 'many' }))

  test('several identities with a key, and none named', () =>
    refused(without('--host-info'), [
      /--host-info is missing/,
      /alice@example.com\/laptop, bob@example.com\/server/,
    ]))

  test('no identity with a key', () =>
    refused(
      [
        ...without('--host-info').filter((word) => !word.startsWith('--app-repo')),
        `--app-repo=${join(directory, 'empty')}`,
      ],
      [/no identity .* has a private key/, /plexus id new/],
    ))

  test('a path under a home directory that is not there', () =>
    refused([...without('--app-repo'), '--app-repo=~/repo'], [/\/nowhere\/repo/], { HOME: '/nowhere' }))

  test('an address to serve at that is none', () =>
    refused(['stun-server', '--listen=1'], [/--listen is '1'/, /ip:port/]))

  test('an import of an accepter from nobody in particular', () =>
    refused([...without('--peer-info'), '--accept', '--import=ssh=0'], [/'ssh' of no peer/, /,peer=/]))

  const wormhole = ['wormhole', '--service=22', '--gateway=127.0.0.1:0', '--faraway=127.0.0.1:9']

  test('a wormhole without a purpose', () => refused(wormhole, [/--purpose is missing/]))

  test('a wormhole without a key', () =>
    refused([...wormhole, '--purpose=export'], [/There is no key/, /TUNNEL_KEY/]))

  test('a wormhole at an address of another machine', () => {
    writeFileSync(join(directory, 'key'), Buffer.alloc(32, 7), { mode: 0o600 })
    return refused(
      [
        'wormhole',
        '--purpose=export',
        '--service=22',
        '--gateway=192.0.2.77:4000',
        '--faraway=127.0.0.1:9',
        `--key-file=${join(directory, 'key')}`,
        '--log-level=warning',
      ],
      [/192\.0\.2\.77:4000 is not/, /--gateway/, /ADDRESS_UNAVAILABLE/],
    )
  })

  test('a wormhole with a key that others can read', () => {
    writeFileSync(join(directory, 'open-key'), Buffer.alloc(32, 7), { mode: 0o644 })
    const args = [...wormhole, '--purpose=export', `--key-file=${join(directory, 'open-key')}`]
    return refused(args, [/is open to other users/, /chmod 600/, /TUNNEL_KEY/])
  })

  test('a wormhole with a key that is none', () => {
    writeFileSync(join(directory, 'short-key'), 'short\n', { mode: 0o600 })
    const args = [...wormhole, '--purpose=export', `--key-file=${join(directory, 'short-key')}`]
    return refused(args, [/no key of 32 bytes/, /TUNNEL_KEY/])
  })

  test('a wormhole that exports standard streams', () =>
    refused(
      ['wormhole', '--purpose=export', '--service=-', '--gateway=127.0.0.1:0', '--faraway=127.0.0.1:9'],
      [/--service is '-'/],
    ))

  test('an action that is none', () =>
    refused(['id', 'frob'], [/does not know 'frob': use new, list/, /plexus id --help/]))

  test('a ping of nobody', () =>
    refused(['--app-id=a', 'ping'], [/'plexus ping' needs an argument/, /plexus ping --help/]))
})
