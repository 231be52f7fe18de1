import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { openOutput, tryOutput } from '../../src/files/index.js'
import { run } from '../support/program.js'
import { SERVER, TwoPrograms } from '../support/two-programs.js'

// Every file that the program writes asks first what is there: what is no file is never replaced by one.

const root = process.getuid?.() === 0 ? false : 'only root can make a device'

describe('what the program writes', () => {
  let directory = ''
  const path = (name: string) => join(directory, name)
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'plexus-outputs-'))
    mkdirSync(path('folder'))
    execFileSync('mkfifo', [path('pipe')])
    writeFileSync(path('old'), 'old\n', { mode: 0o600 })
    symlinkSync(path('old'), path('link'))
    symlinkSync(path('nowhere'), path('dangling'))
    if (!root) {
      execFileSync('mknod', [path('null'), 'c', '1', '3'])
      chmodSync(path('null'), 0o666)
    }
  })
  after(() => rmSync(directory, { recursive: true, force: true }))

  /** A pairing that fails at once, with its result at a place. */
  const failed = (result: string, ...more: string[]) =>
    run([
      `--peer-info=${SERVER}`,
      `--app-repo=${path('none')}`,
      `--state-dir=${path('state')}`,
      `--result=${result}`,
      ...more,
    ])

  test('a result takes the place of a file as a whole', async () => {
    const { code } = await failed(path('old'))
    assert.equal(code, 2)
    assert.equal(JSON.parse(readFileSync(path('old'), 'utf8')).code, 'REPOSITORY')
    assert.equal(statSync(path('old')).mode & 0o777, 0o600)
  })

  test('a result that is a link goes to what it leads to, and the link stays', async () => {
    await failed(path('link'))
    assert.ok(lstatSync(path('link')).isSymbolicLink())
    assert.equal(JSON.parse(readFileSync(path('old'), 'utf8')).paired, false)
  })

  test('a device stays one', { skip: root }, async () => {
    const { code, stderr } = await failed(path('null'))
    assert.equal(code, 2)
    assert.match(stderr, /\[REPOSITORY\]/)
    assert.ok(lstatSync(path('null')).isCharacterDevice())
  })

  test('a pipe is written to, and stays one', async () => {
    const reader = spawn('cat', [path('pipe')], { stdio: ['ignore', 'pipe', 'inherit'] })
    const heard = text(reader.stdout)
    const { code } = await failed(path('pipe'))
    assert.equal(code, 2)
    assert.equal(JSON.parse(await heard).code, 'REPOSITORY')
    assert.ok(lstatSync(path('pipe')).isFIFO())
    if (reader.exitCode === null) await once(reader, 'close')
  })

  for (const name of ['-', '/dev/stdout', '/dev/fd/1']) {
    test(`--result=${name} is standard output`, async () => {
      const { code, stdout } = await failed(name)
      assert.equal(code, 2)
      assert.equal(JSON.parse(stdout).code, 'REPOSITORY')
    })
  }

  for (const [what, name, why] of [
    ['a folder', 'folder', /is a directory/],
    ['a link that leads nowhere', 'dangling', /broken link/],
    ['in a folder that is not there', 'away/result', /which is not a directory/],
  ] as const) {
    test(`an output that is ${what} is refused at the start, as check finds it`, async () => {
      const flags = ['--result', '--log-file', '--exec-log'].map((flag) => `${flag}=${path(name)}`)
      for (const flag of flags) {
        const started = await run([
          `--peer-info=${SERVER}`,
          `--app-repo=${path('none')}`,
          '--exec-command=/bin/true',
          flag,
        ])
        assert.equal(started.code, 2)
        assert.match(started.stderr, why)
        assert.doesNotMatch(started.stderr, /REPOSITORY/)
      }
      const checked = await run([
        'check',
        `--app-repo=${path('none')}`,
        `--state-dir=${path('state')}`,
        `--rendezvous=dir:${path('meet')}`,
        '--stun-server=127.0.0.1:9',
        '--exec-command=/bin/true',
        ...flags,
      ]).then(({ stdout, stderr }) => stdout + stderr)
      assert.equal(checked.match(new RegExp(why.source, 'g'))?.length, 3, checked)
    })
  }

  test('a pipe that nobody reads is refused at the start', async () => {
    for (const flag of ['--result', '--log-file']) {
      const { code, stderr } = await run([
        `--peer-info=${SERVER}`,
        `--app-repo=${path('none')}`,
        `${flag}=${path('pipe')}`,
      ])
      assert.equal(code, 2)
      assert.match(stderr, /a pipe that nobody reads/)
    }
  })

  test('the log of a command may be standard output, and a device', async () => {
    const programs = await TwoPrograms.create()
    try {
      await programs.accepter('--exec-command=/bin/true')
      const inviter = programs.inviter(
        '--exec-command=/bin/echo',
        '--exec-args=hello',
        '--exec-log=/dev/stdout',
      )
      const { code, stdout } = await inviter.ended
      assert.equal(code, 0, inviter.stderr)
      assert.match(stdout, /^hello$/m)
    } finally {
      await programs.close()
    }
  })

  test('a new file is its owner’s alone, and to try one makes none', () => {
    tryOutput(path('new'))
    assert.throws(() => lstatSync(path('new')), { code: 'ENOENT' })
    openOutput(path('new')).close()
    assert.equal(statSync(path('new')).mode & 0o777, 0o600)
  })
})
