import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { skip } from './fixture.js'
import { Lab } from './index.js'
import { complaint, flagsOf, NEIGHBOURHOODS } from './neighbourhood.js'
import { PairingRig } from './pairing-rig.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

describe('sides that stand close to each other', { skip }, () => {
  let lab: Lab
  let rig: PairingRig

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  for (const [index, neighbourhood] of NEIGHBOURHOODS.entries()) {
    test(`${neighbourhood.name}: the nearest path is taken`, async () => {
      const { from, to } = await neighbourhood.build(lab, `n${index}`)
      const more = flagsOf(neighbourhood, rig)
      const accepter = await rig.accepter(to, BOB, more)
      const outcome = await rig.pair(from, ALICE, BOB, accepter, more)
      assert.equal(complaint(neighbourhood, to, outcome), undefined)
      await accepter.stop()
    })
  }
})
