import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { BAD_INPUT } from '../support/bad-input.js'
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

  for (const [what, args, ...patterns] of BAD_INPUT) {
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
