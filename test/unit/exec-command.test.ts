import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { parseCommand } from '../../src/exec/index.js'
import { Stage } from './exec-stage.js'

const missing = (part: string) => (error: unknown) =>
  error instanceof PlexusError && error.code === 'COMMAND_MISSING' && error.message.includes(part)

test('a command is found by its path, or by its name in PATH', (t) => {
  const stage = new Stage(t)
  const file = stage.script('greet', 'echo hello')
  assert.equal(parseCommand({ command: file }, stage).file, file)
  const env = { PATH: `/nowhere:${stage.directory}` }
  assert.equal(parseCommand({ command: 'greet' }, { ...stage.base(), env }).file, file)
  assert.equal(parseCommand({ command: 'sh' }, { ...stage.base(), env: {} }).file, '/bin/sh')
})

test('the current directory is not searched, whatever PATH says', (t) => {
  const stage = new Stage(t)
  const env = { PATH: `:.:` }
  assert.throws(() => parseCommand({ command: 'package.json' }, { ...stage.base(), env }), missing('PATH'))
})

test('a command that cannot run is refused before anything is started', (t) => {
  const stage = new Stage(t)
  const plain = stage.script('plain', 'echo hello')
  chmodSync(plain, 0o644)
  mkdirSync(stage.path('folder'))
  const empty = stage.path('empty')
  writeFileSync(empty, '', { mode: 0o755 })
  for (const [command, part] of [
    ['', 'empty'],
    ['no-such-command', 'PATH'],
    [stage.path('absent'), 'ENOENT'],
    [plain, 'EACCES'],
    [stage.path('folder'), 'not a file'],
    [empty, 'without #!'],
    [stage.script('bare', 'echo hello', ''), 'script without #!'],
    [stage.script('foreign', 'echo hello', '#!/no/such/interpreter -x\n'), '/no/such/interpreter'],
    [stage.script('odd', '', '#!\n'), 'none'],
  ] as const) {
    assert.throws(() => parseCommand({ command }, stage), missing(part), command)
  }
})

test('a mistake in any template is found at start-up', (t) => {
  const stage = new Stage(t)
  for (const spec of [{ args: '%nothing%' }, { pwd: '%nothing%' }, { log: '%nothing%' }, { args: "'" }]) {
    assert.throws(() => parseCommand({ command: 'sh', ...spec }, stage), { code: 'BAD_EXEC_ARGS' })
  }
})

test('the secret in arguments is allowed, with one warning', (t) => {
  const stage = new Stage(t)
  parseCommand({ command: 'sh', args: '%peerip% %peerport%' }, stage)
  assert.equal(stage.lines.length, 0)
  parseCommand({ command: 'sh', args: 'a=%secret% %secret%', log: '%secret%' }, stage)
  assert.deepEqual(
    stage.lines.map(({ level }) => level),
    ['warn'],
  )
})
