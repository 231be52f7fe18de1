import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { commandEnvironment, DEFAULT_EXEC_ARGS, WILDCARDS } from '../../src/exec/index.js'
import { example, repositoryFile, tableRows } from '../support/examples.js'
import { PASSAGE, Stage } from '../unit/exec-stage.js'

const DOCUMENT = 'docs/commands.md'

test('the document has every wildcard with its variable, in the order of the code, and no other', () => {
  const documented = tableRows(DOCUMENT, 3)
    .filter(([name]) => name?.startsWith('`%'))
    .map(([name, variable]) => [name, variable])
  const known = Object.entries(WILDCARDS).map(([name, { variable }]) => [`\`%${name}%\``, `\`${variable}\``])
  assert.deepEqual(documented, known)
})

test('the document has every variable that a command is given', () => {
  const text = repositoryFile(DOCUMENT)
  for (const name of Object.keys(commandEnvironment({}, PASSAGE, '/key'))) {
    assert.ok(text.includes(`\`${name}\``), name)
  }
  assert.ok(text.includes(DEFAULT_EXEC_ARGS))
})

test('the command of the document speaks through a hole, whichever side is there first', async (t) => {
  const stage = new Stage(t)
  const file = stage.script('hello.cjs', example(DOCUMENT, 'hello.cjs'), '')
  const [one, two] = [await freePort(), await freePort()]
  const outputs = [stage.path('one'), stage.path('two')] as const
  const args = '%innerip% %innerport% %peerip% %peerport%'
  const at = (port: number) => ({ address: '127.0.0.1', port })
  const first = await stage.start(
    { command: file, args, log: outputs[0] },
    { inner: at(one), peer: at(two), role: 'accepter', host: PASSAGE.peerId, peerId: PASSAGE.host },
  )
  const second = await stage.start(
    { command: file, args, log: outputs[1] },
    { inner: at(two), peer: at(one), role: 'inviter' },
  )
  assert.deepEqual(await Promise.all([first.exited, second.exited]), [
    { code: 0, signal: null },
    { code: 0, signal: null },
  ])
  assert.equal(stage.read('one'), 'hello from alice@example.com/laptop\n')
  assert.equal(stage.read('two'), 'hello from bob@example.com/server\n')
})

async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}
