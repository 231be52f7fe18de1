import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { HOOKS } from '../support/hooks.js'
import { Stage } from '../unit/exec-stage.js'

const HOOK = join(HOOKS, 'notify')

test('the notify hook tells the passage in lines, and no secret', async (t) => {
  const stage = new Stage(t)
  const peerId = { owner: 'bob', pin: 'a $(id) "b" %s' }
  const child = await stage.start({ command: HOOK, args: '', log: stage.path('log') }, { peerId })
  assert.deepEqual(await child.exited, { code: 0, signal: null })
  assert.deepEqual(stage.read('log').trimEnd().split('\n'), [
    'PLEXUS_ROLE=accepter',
    'PLEXUS_APP=demo',
    'PLEXUS_SESSION=00ff00ff',
    'PLEXUS_HOST_ID=alice@example.com/laptop',
    'PLEXUS_PEER_ID=bob/a $(id) "b" %s',
    'PLEXUS_INNER=192.0.2.10:4001',
    'PLEXUS_OUTER=198.51.100.20:4002',
    'PLEXUS_ALIEN=203.0.113.30:4003',
  ])
})

test('the notify hook says what it misses when nobody gives it a passage', () => {
  const { status, stderr } = spawnSync(HOOK, { env: { PATH: process.env.PATH }, encoding: 'utf8' })
  assert.notEqual(status, 0)
  assert.match(stderr, /PLEXUS_ROLE/)
})
