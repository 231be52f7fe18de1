import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { PUBLIC_BOOTSTRAP } from '../../src/cli/flags/defaults.js'
import { PAIRING_FLAGS } from '../../src/cli/flags/flags.js'
import { settled } from '../../src/cli/flags/settled.js'
import { PlexusError } from '../../src/errors/index.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { silent } from '../../src/net/index.js'
import { lockDirectory } from '../../src/place/lock.js'
import { refuseShared, refuseWritable } from '../../src/place/writable.js'

const PROGRAM = fileURLToPath(new URL('../../bin/cli/main.js', import.meta.url))

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'plexus-safety-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const coded =
  (code: string, pattern = /./) =>
  (thrown: unknown) =>
    thrown instanceof PlexusError && thrown.code === code && pattern.test(thrown.message)

const NOT_ROOT = process.getuid?.() === 0 ? false : 'only root is protected so'

describe('what decides what root does', { skip: NOT_ROOT }, () => {
  const hook = () => join(directory, 'bin', 'hook')
  const check = () => refuseWritable(hook(), 'The command', 'COMMAND_WRITABLE')
  beforeEach(() => {
    mkdirSync(join(directory, 'bin'), { mode: 0o755 })
    writeFileSync(hook(), '#!/bin/sh\n', { mode: 0o755 })
  })

  test('is taken when only root can write it', check)

  test('is refused when everybody can write it', () => {
    chmodSync(hook(), 0o757)
    assert.throws(check, coded('COMMAND_WRITABLE', /The command can be written by everybody \(mode 0757\)/))
  })

  test("is refused when a group can write it that is not root's", () => {
    chmodSync(hook(), 0o775)
    check()
    chownSync(hook(), 0, 12_345)
    assert.throws(check, coded('COMMAND_WRITABLE', /its group \(gid 12345\)/))
  })

  test('is refused when its directory can be written by others', () => {
    chmodSync(join(directory, 'bin'), 0o777)
    assert.throws(check, coded('COMMAND_WRITABLE', /stands in .*bin, which can be written by everybody/))
  })

  test('is refused when everybody can write a directory above', () => {
    chmodSync(directory, 0o777)
    assert.throws(check, coded('COMMAND_WRITABLE', /stands in/))
    chmodSync(directory, 0o1777) // as /tmp is: what stands in it is its owner's
    check()
  })

  test('is refused when it is a repository that everybody can write', async () => {
    const repository = join(directory, 'repo')
    const date = systemClock.date()
    const name = parseIdentity('alice@px.test/laptop')
    await createIdentity(repository, name, { key: 'ec', random: systemRandom, date })
    chmodSync(repository, 0o777)
    const flags = ['--accept', `--app-repo=${repository}`, '--rendezvous=dir:/nowhere']
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, ...flags], { encoding: 'utf8' })
    assert.equal(status, 2)
    assert.match(
      stderr,
      /The repository .* can be written by everybody \(mode 0777\).*\[REPOSITORY_WRITABLE\]/,
    )
  })

  test('is refused behind a link as well', () => {
    chmodSync(hook(), 0o757)
    symlinkSync(hook(), join(directory, 'link'))
    const behind = () => refuseWritable(join(directory, 'link'), 'The command', 'COMMAND_WRITABLE')
    assert.throws(behind, coded('COMMAND_WRITABLE'))
  })
})

test('a configuration that others can write is refused for root', { skip: NOT_ROOT }, () => {
  const config = join(directory, 'conf')
  writeFileSync(config, 'app-id=x\n')
  assert.equal(settled({ config }, PAIRING_FLAGS, {}).text('app-id'), 'x')
  chmodSync(config, 0o666)
  assert.throws(() => settled({ config }, PAIRING_FLAGS, {}), coded('BAD_CONFIG', /by everybody/))
})

describe('a state directory', () => {
  test("of one's own is taken", () => {
    chmodSync(directory, 0o755)
    refuseShared(directory, { shared: false })
  })

  test('that others can write is refused', () => {
    for (const mode of [0o770, 0o707]) {
      chmodSync(directory, mode)
      assert.throws(() => refuseShared(directory, { shared: true }), coded('STATE_DIRECTORY', /by others/))
    }
  })

  test('may lie in a sticky one, but is none itself', () => {
    chmodSync(directory, 0o1777)
    refuseShared(directory, { shared: true })
    assert.throws(() => refuseShared(directory, { shared: false }), coded('STATE_DIRECTORY'))
  })

  test('of another user is refused', { skip: NOT_ROOT }, () => {
    mkdirSync(join(directory, 'theirs'))
    chownSync(join(directory, 'theirs'), 12_345, 12_345)
    const check = () => refuseShared(join(directory, 'theirs'), { shared: false })
    assert.throws(check, coded('STATE_DIRECTORY', /uid 12345/))
  })
})

describe('the lock of a state directory', () => {
  const lock = () => join(directory, 'lock')

  test('is taken once, and again when it was let go', () => {
    const release = lockDirectory(directory, 'An accepter', silent)
    release()
    lockDirectory(directory, 'An accepter', silent)()
    assert.deepEqual(readdirSync(directory), [])
  })

  test('is not taken from a process that runs', async () => {
    const other = spawn('sleep', ['60'])
    await once(other, 'spawn')
    try {
      const stat = readFileSync(`/proc/${other.pid}/stat`, 'utf8')
      const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
      const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
      writeFileSync(lock(), `${other.pid} ${ticks} ${boot}\n`)
      assert.throws(
        () => lockDirectory(directory, 'An accepter', silent),
        coded('ALREADY_RUNNING', /An accepter is already running \(process \d+\)/),
      )
      // the same number, but another process
      writeFileSync(lock(), `${other.pid} ${Number(ticks) - 1} ${boot}\n`)
      lockDirectory(directory, 'An accepter', silent)()
    } finally {
      other.kill('SIGKILL')
      await once(other, 'exit')
    }
  })

  test('that is stale, empty or nonsense is taken over', () => {
    for (const text of ['', 'nonsense', '-1 5 x\n', '999999999 1 x\n']) {
      writeFileSync(lock(), text)
      lockDirectory(directory, 'An accepter', silent)()
      assert.ok(!existsSync(lock()))
    }
  })
})

test('the bootstrap nodes that are told are those that are used', () => {
  const { BOOTSTRAP_NODES } = createRequire(import.meta.url)('hyperdht/lib/constants') as {
    BOOTSTRAP_NODES: string[]
  }
  assert.deepEqual(
    PUBLIC_BOOTSTRAP,
    BOOTSTRAP_NODES.map((node) => node.split('@')[1]),
  )
})
