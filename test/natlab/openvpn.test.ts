import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { hookExample } from '../support/hook-examples.js'
import { skip, until } from './fixture.js'
import { Lab } from './index.js'
import { PairingRig } from './pairing-rig.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

/** Why a VPN cannot be had here. */
const missing =
  skip ||
  (existsSync('/usr/sbin/openvpn') ? false : 'openvpn is not installed') ||
  (existsSync('/dev/net/tun') ? false : 'there is no /dev/net/tun') ||
  (existsSync('/usr/bin/ping') ? false : 'ping is not installed')

test('the openvpn hook carries a ping between two machines behind NATs', { skip: missing }, async () => {
  const lab = await Lab.open()
  const rig = await PairingRig.open(lab, [ALICE, BOB])
  try {
    const a = await lab.side('a', 'port-restricted')
    const b = await lab.side('b', 'port-restricted')
    const hook = hookExample('openvpn')
    const accepter = await rig.accepter(b, BOB, hook.accepter)
    const inviter = rig.inviter(a, ALICE, BOB, hook.inviter)
    await inviter.said(/^the command runs/)
    await until(async () => (await a.exec('ping', ['-c', '1', '-W', '1', '10.77.0.1'])).status === 0)
    const back = await b.exec('ping', ['-c', '1', '-W', '1', '10.77.0.2'])
    assert.equal(back.status, 0, back.stdout)
    await Promise.all([inviter.stop(), accepter.stop()])
  } finally {
    await rig.close()
    await lab.close()
  }
})
