import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { formatEndpoint, silent } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { type Ended, Program, type ProgramOptions } from '../support/program.js'
import { AF_NETLINK, AF_UNIX, type Refusal, refusing, refusingMissing } from '../support/refusing.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const SERVER = 'bob@example.com/server'

let directory = ''
let stun: StunServer
before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'plexus-machines-'))
  stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
})
after(async () => {
  await stun.close()
  rmSync(directory, { recursive: true, force: true })
})

const stunFlag = () => `--stun-server=${stun.endpoints.map(formatEndpoint)[0]}`

const running = new Set<Program>()
afterEach(async () => {
  await Promise.all([...running].map((program) => program.end('SIGKILL')))
  running.clear()
})

function start(args: readonly string[], options: ProgramOptions = {}): Program {
  const program = new Program(args, options)
  running.add(program)
  return program
}

const run = (args: readonly string[], options: ProgramOptions = {}): Promise<Ended> =>
  start(args, options).ended

/** The flags of a side that meets in a directory. */
const flags = (...more: readonly string[]) => [
  `--app-repo=${join(directory, 'repo')}`,
  `--state-dir=${join(directory, 'state')}`,
  `--rendezvous=dir:${join(directory, 'post')}`,
  stunFlag(),
  ...more,
]

before(async () => {
  const made = await run(['id', 'new', SERVER, '--key=ec', `--app-repo=${join(directory, 'repo')}`])
  assert.equal(made.code, 0, made.stderr)
})

const noStack = (text: string) => assert.doesNotMatch(text, /INTERNAL|^ {4}at /m)

describe('a system that refuses a call', { skip: refusingMissing() }, () => {
  const on = (...refusals: Refusal[]): ProgramOptions => ({ under: refusing(...refusals) })
  // as under some seccomp profiles, and on Android
  const hidden = on({ call: 'socket', errno: 'EACCES', first: AF_NETLINK })

  test('where the interfaces cannot be listed two sides pair all the same', async () => {
    const { code, stdout, stderr } = await run(['demo'], hidden)
    assert.equal(code, 0, `${stdout}\n${stderr}`)
    assert.match(stdout, /done: the hole is open/)
    assert.match(stdout, /does not list its network interfaces \(EACCES\)/)
    noStack(stdout)
  })

  test('plexus nat measures without the list', async () => {
    const { code, stdout, stderr } = await run(
      ['nat', `--state-dir=${join(directory, 'state')}`, stunFlag()],
      hidden,
    )
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^NAT /m)
    noStack(stdout + stderr)
  })

  test('plexus check says so, in a line', async () => {
    const { stdout, stderr } = await run(['check', ...flags()], hidden)
    assert.match(stdout, /^warn {2}interfaces {2}.*\(EACCES\)/m)
    noStack(stdout + stderr)
  })

  for (const errno of ['EPERM', 'ENOTSUP', 'EMLINK'] as const) {
    test(`a file system without hard links (${errno}) takes identities`, async () => {
      const repository = `--app-repo=${join(directory, errno)}`
      const linkless = on({ call: 'link', errno })
      for (const words of [
        ['new', SERVER, '--key=ec'],
        ['export', SERVER, `--out=${join(directory, `${errno}.pem`)}`],
        ['renew', SERVER],
        ['renew', SERVER, '--finish', '--yes'],
        ['remove', SERVER, '--with-key', '--yes'],
        ['import', join(directory, `${errno}.pem`), `--fingerprint=${'0'.repeat(64)}`],
      ]) {
        const { code, stderr } = await run(['id', ...words, repository], linkless)
        assert.equal(code, words[0] === 'import' ? 2 : 0, `${words}: ${stderr}`)
        if (words[0] === 'import') assert.match(stderr, /\[FINGERPRINT\]/)
      }
      assert.deepEqual(readdirSync(join(directory, errno)), [])
    })
  }

  // without flock(2) a socket holds the directory, and without either the process id
  const LOCKS: readonly (readonly [string, ProgramOptions])[] = [
    ['hard links', on({ call: 'link', errno: 'EPERM' })],
    ['flock', on({ call: 'flock', errno: 'ENOLCK' })],
    [
      'flock and sockets',
      on({ call: 'flock', errno: 'ENOTSUP' }, { call: 'socket', errno: 'EPERM', first: AF_UNIX }),
    ],
  ]
  for (const [what, machine] of LOCKS) {
    test(`a state directory without ${what} has one accepter at a time, and another after kill -9`, async () => {
      const args = ['--accept', `--app-id=${what.replaceAll(' ', '-')}`, ...flags()]
      const first = start(args, machine)
      await first.said(/ready for invites/)
      const warned = /cannot be locked: another container or machine could use it/.test(first.stderr)
      assert.equal(warned, what === 'flock and sockets', first.stderr)
      const second = await run(args, machine)
      assert.equal(second.code, 2, second.stderr)
      assert.match(second.stderr, /already running \(process \d+\)/)
      await first.end('SIGKILL')
      const third = start(args, machine)
      await third.said(/ready for invites/)
      assert.equal((await third.end()).code, 0)
    })
  }
})

const NO_CONTAINERS =
  spawnSync('unshare', ['--pid', '--net', '--fork', '--mount-proc', '--kill-child', 'true']).status === 0
    ? false
    : 'no containers without root'

// the processes of one are not seen in the other, and both are process 1
describe('two containers on one state volume', { skip: NO_CONTAINERS }, () => {
  // a killed container takes its processes along
  const container = ['unshare', '--pid', '--net', '--fork', '--mount-proc', '--kill-child']
  const holds: readonly (readonly [string, readonly string[]])[] = [
    ['a lock', []],
    ['a socket', refusingMissing() ? [] : refusing({ call: 'flock', errno: 'ENOLCK' })],
  ]
  for (const [what, machine] of holds) {
    test(`have one accepter, by ${what}; the other takes over when it is gone`, async () => {
      const args = ['--accept', `--app-id=by-${what.replaceAll(' ', '-')}`, ...flags()]
      const first = start(args, { under: [...container, ...machine] })
      await first.said(/ready for invites/)
      const second = await run(args, { under: [...container, ...machine] })
      assert.equal(second.code, 2, second.stderr)
      assert.match(second.stderr, /already running, in another container or on another machine that uses \//)
      // and from outside, where the process can be seen under another number
      const third = await run(args, { under: machine })
      assert.match(third.stderr, /already running/)
      await first.end('SIGKILL')
      const fourth = start(args, { under: [...container, ...machine] })
      await fourth.said(/ready for invites/)
    })
  }
})

describe('a native addon that does not load', () => {
  const PACKAGES = join(ROOT, 'node_modules')
  /** A copy of the installed program with one addon that is of no use. */
  const install = (broken: string, how: 'foreign' | 'unbuilt' | 'missing'): string => {
    const home = mkdtempSync(join(directory, 'installed-'))
    cpSync(join(ROOT, 'dist', 'bin'), join(home, 'dist', 'bin'), { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(home, 'package.json'))
    mkdirSync(join(home, 'node_modules'))
    for (const name of readdirSync(PACKAGES).filter((each) => !each.startsWith('.'))) {
      const [from, to] = [join(PACKAGES, name), join(home, 'node_modules', name)]
      if (name !== broken) symlinkSync(from, to)
      else if (how !== 'missing')
        cpSync(from, to, { recursive: true, filter: (path) => !/\.node$|\/prebuilds/.test(path) })
    }
    if (how === 'foreign') {
      // as for another kind of machine, or another C library
      const built = join(home, 'node_modules', broken, 'prebuilds', `${process.platform}-${process.arch}`)
      mkdirSync(built, { recursive: true })
      writeFileSync(join(built, `${broken}.node`), 'not for this machine')
    }
    return join(home, 'dist', 'bin', 'cli', 'main.js')
  }
  const forms = [
    ['foreign', /: .*udx-native\.node: /],
    ['unbuilt', /: there is none for \w+ on \w+\./],
    ['missing', /: it is not installed\./],
  ] as const

  for (const [how, why] of forms) {
    test(`udx-native, ${how}: what needs none works, the others say why`, async () => {
      const main = install('udx-native', how)
      const list = await run(['id', 'list', ...flags().slice(0, 1)], { main })
      assert.equal(list.code, 0, list.stderr)
      assert.match(list.stdout, /bob@example\.com\/server/)
      for (const words of [['--accept', ...flags()], ['nat', stunFlag()], ['demo']]) {
        const { code, stderr } = await run(words, { main })
        assert.equal(code, 2, stderr)
        assert.match(
          stderr,
          /The native addon udx-native cannot be loaded.* Install plexus .*\[NATIVE_ADDON\]/,
        )
        assert.match(stderr, why)
        noStack(stderr)
      }
      const check = await run(['check', ...flags()], { main })
      assert.match(check.stdout, /^ok {4}rendezvous/m)
      assert.match(check.stdout, /^FAIL {2}port .*\[NATIVE_ADDON\]$/m)
    })
  }

  test('sodium-native: what forwards nothing works, the others say why at the start', async () => {
    const main = install('sodium-native', 'foreign')
    const plain = start(['--accept', ...flags()], { main })
    await plain.said(/ready for invites/)
    for (const words of [['--export=22'], ['--rendezvous=dht:', '--dht-bootstrap=127.0.0.1:9']]) {
      const { code, stderr } = await run(['--accept', '--app-id=other', ...flags(...words)], { main })
      assert.equal(code, 2, stderr)
      assert.match(stderr, /The native addon sodium-native cannot be loaded.*\[NATIVE_ADDON\]/)
      noStack(stderr)
      const check = await run(['check', '--accept', ...flags(...words)], { main })
      assert.match(check.stdout, /^FAIL .*sodium-native.*\[NATIVE_ADDON\]$/m)
    }
  })
})

describe('a clock that was never set', () => {
  // NODE_OPTIONS are words between blanks
  const past = `data:text/javascript,${encodeURIComponent('Date.now = () => 86_400_000')}`

  test('plexus id new says that the certificate expires too early, and makes it', async () => {
    const words = ['id', 'new', 'early@example.com/router', '--key=ec', ...flags().slice(0, 1)]
    const { code, stdout, stderr } = await run(words, { env: { NODE_OPTIONS: `--import=${past}` } })
    assert.equal(code, 0, stderr)
    assert.match(stdout, /fingerprint/)
    assert.match(stderr, /the clock says 1970-01-02, so this certificate expires too early\. Set the clock/)
    const shown = await run(['id', 'show', 'early@example.com/router', ...flags().slice(0, 1)])
    assert.match(shown.stdout, /19(79|80)-/)
  })

  test('plexus id new says nothing of a clock that is right', async () => {
    const { stderr } = await run(['id', 'new', 'now@example.com/router', '--key=ec', ...flags().slice(0, 1)])
    assert.equal(stderr, '')
  })
})
