import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PAIRING_FLAGS } from '../../src/cli/flags/flags.js'
import { programSettings } from '../../src/cli/flags/program.js'
import { settled } from '../../src/cli/flags/settled.js'

const ROLES = [{ accept: true }, { 'peer-info': 'bob@example.com/server' }]

const USES = [
  {},
  { 'exec-command': process.execPath, 'exec-args': '-e 0 %peerip%:%peerport%', 'exec-env': ['A=%outer%'] },
  { export: ['web=8080', 'unix:/run/x'], import: [] },
]

test('settings are plain data: the same flags give equal ones, and a copy is as good', () => {
  for (const role of ROLES) {
    for (const use of USES) {
      const given = {
        ...role,
        ...use,
        'stun-server': ['192.0.2.1'],
        'port-range': '4000-4010',
        verbose: false,
      }
      const read = () => programSettings(settled(given, PAIRING_FLAGS, {})).settings
      assert.deepEqual(read(), read())
      assert.deepEqual(structuredClone(read()), read())
    }
  }
})
