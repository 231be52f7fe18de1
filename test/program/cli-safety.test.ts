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
  statSync,
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
import { checkProgram } from '../../src/files/index.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { silent } from '../../src/net/index.js'
import { openStateFolder } from '../../src/place/index.js'
import { lockDirectory } from '../../src/place/lock.js'

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

describe('what decides what runs', { skip: NOT_ROOT }, () => {
  const hook = () => join(directory, 'bin', 'hook')
  const check = () => checkProgram(hook())
  beforeEach(() => {
    mkdirSync(join(directory, 'bin'), { mode: 0o755 })
    writeFileSync(hook(), '#!/bin/sh\n', { mode: 0o755 })
  })

  test('is taken when only root can write it', check)

  test('is refused when everybody can write it', () => {
    chmodSync(hook(), 0o757)
    assert.throws(
      check,
      coded('COMMAND_WRITABLE', /The command .*hook can be written by everybody \(mode 0757\)/),
    )
  })

  test("is refused when a group can write it that is not root's", () => {
    chmodSync(hook(), 0o775)
    check()
    chownSync(hook(), 0, 12_345)
    assert.throws(check, coded('COMMAND_WRITABLE', /its group \(gid 12345, mode 0775\)/))
  })

  test('is refused when it is another user’s', () => {
    chownSync(hook(), 12_345, 12_345)
    assert.throws(check, coded('COMMAND_WRITABLE', /another user \(uid 12345\)/))
  })

  test('is refused when its directory can be written by others, or one above', () => {
    for (const each of [join(directory, 'bin'), directory]) {
      chmodSync(each, 0o777)
      assert.throws(check, coded('COMMAND_WRITABLE', /is in .*, which can be written by everybody/))
      chmodSync(each, 0o1777) // as /tmp is: what stands in it is its owner's
      check()
      chmodSync(each, 0o755)
    }
  })

  test('is refused when its interpreter is', () => {
    const interpreter = join(directory, 'sh')
    writeFileSync(interpreter, readFileSync('/bin/sh'), { mode: 0o755 })
    writeFileSync(hook(), `#!${interpreter}\n`)
    check()
    chmodSync(interpreter, 0o777)
    assert.throws(check, coded('COMMAND_WRITABLE', /The interpreter .*sh of .*hook can be written/))
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
      /is in .*repo, which can be written by everybody \(mode 0777\).*\[REPOSITORY_WRITABLE\]/,
    )
  })
})

test('a configuration that others can write is refused', { skip: NOT_ROOT }, () => {
  const config = join(directory, 'conf')
  writeFileSync(config, 'app-id=x\n')
  assert.equal(settled({ config }, PAIRING_FLAGS, {}).text('app-id'), 'x')
  chmodSync(config, 0o666)
  assert.throws(() => settled({ config }, PAIRING_FLAGS, {}), coded('BAD_CONFIG', /by everybody/))
})

describe('a state directory', { skip: NOT_ROOT }, () => {
  const open = () => openStateFolder(directory, 'owner')

  test("of one's own is taken, and made for its owner alone", async () => {
    chmodSync(directory, 0o755)
    assert.equal(statSync(await open()).mode & 0o777, 0o700)
  })

  test('that others can write is refused', async () => {
    await open()
    chmodSync(directory, 0o707)
    await assert.rejects(open(), coded('STATE_DIRECTORY', /by everybody/))
    chownSync(directory, 0, 12_345)
    chmodSync(directory, 0o770)
    await assert.rejects(open(), coded('STATE_DIRECTORY', /by its group/))
  })

  test('may lie in a sticky one, but is none itself', async () => {
    chmodSync(directory, 0o1777)
    chmodSync(await open(), 0o1777)
    await assert.rejects(open(), coded('STATE_DIRECTORY'))
  })

  test('of another user is refused', async () => {
    chownSync(await open(), 12_345, 12_345)
    await assert.rejects(open(), coded('STATE_DIRECTORY', /uid 12345/))
  })
})

describe('the lock of a state directory', () => {
  const lock = () => join(directory, 'lock')

  const take = () => lockDirectory(directory, 'An accepter', silent)

  test('is taken once, and again when it was let go', async () => {
    const release = await take()
    await assert.rejects(take(), coded('ALREADY_RUNNING', /An accepter is already running/))
    await release()
    await (await take())()
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
      await assert.rejects(take(), coded('ALREADY_RUNNING', /An accepter is already running \(process \d+\)/))
      // the same number, but another process
      writeFileSync(lock(), `${other.pid} ${Number(ticks) - 1} ${boot}\n`)
      await (await take())()
    } finally {
      other.kill('SIGKILL')
      await once(other, 'exit')
    }
  })

  test('that is stale, empty or nonsense is taken over', async () => {
    for (const text of ['', 'nonsense', '-1 5 x\n', '999999999 1 x\n']) {
      writeFileSync(lock(), text)
      await (await take())()
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
