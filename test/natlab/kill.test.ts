import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { skip } from './fixture.js'
import { Lab, type Side } from './index.js'
import { commandsLeft, filesBelow, Killing } from './killing.js'
import { PairingRig } from './pairing-rig.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const TIMES = 5

/** What an accepter and an inviter remember: sessions, a key, who speaks the native language, what worked, and the NAT. */
const KEPT = /^(seen|dht-[0-9a-f]+\.seed|native-peers|paths|behaviour)$/

describe('a side that is killed in the middle of a pairing', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let killing: Killing
  let inviting: Side
  let accepting: Side

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
    inviting = await lab.side('a', 'port-restricted')
    accepting = await lab.side('b', 'port-restricted')
    killing = new Killing(rig, [inviting, ALICE], [accepting, BOB])
  })
  after(async () => {
    await killing?.close()
    await rig?.close()
    await lab?.close()
  })

  for (const victim of ['inviter', 'accepter'] as const) {
    test(`the ${victim}: the next pairing works`, async () => {
      for (let time = 0; time < TIMES; time++) {
        const { during, next } = await killing.once(victim)
        assert.ok(next.paired, `killed after '${during}'; then:\n${next.story}`)
      }
    })
  }

  test('and leaves no command, and nothing but its key and its memory in the state directory', async () => {
    await killing.close()
    assert.deepEqual(await commandsLeft(rig), [])
    const state = join(rig.directory, 'state')
    for (const owner of await readdir(state)) {
      for (const file of filesBelow(join(state, owner))) assert.match(file, KEPT)
    }
  })
})
