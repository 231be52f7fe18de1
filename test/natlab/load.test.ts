import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { skip } from './fixture.js'
import { Lab, type Side } from './index.js'
import { PairingRig, type Process } from './pairing-rig.js'
import { throng, throngNames } from './throng.js'

const BOB = 'bob@px.test/server'
/** How many an accepter pairs with at a time. */
const LIMIT = 16
/** Far more than that. */
const MANY = 100
/** NATs that the inviters are behind. */
const SIDES = 5

const COMMAND = ['--exec-command=/bin/true', '--exec-args=x']

describe('many inviters at once against one accepter', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let accepter: Process
  const sides: Side[] = []
  const guests = throngNames(MANY)

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [BOB, ...guests])
    for (let index = 0; index < SIDES; index++) {
      sides.push(await lab.side(`s${index}`, 'port-restricted'))
    }
    accepter = await rig.accepter(await lab.side('b', 'port-restricted'), BOB, COMMAND)
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  test(`${LIMIT} of them all pair at once`, async () => {
    const inviters = guests
      .slice(0, LIMIT)
      .map((guest, index) => rig.inviter(sides[index % SIDES] as Side, guest, BOB, COMMAND))
    const codes = await Promise.all(inviters.map((inviter) => inviter.ended))
    const failed = inviters.filter((_, index) => codes[index] !== 0)
    assert.deepEqual(
      failed.map((inviter) => inviter.story()),
      [],
    )
  })

  test(`${MANY} of them pair, those who are told BUSY when they try again`, async () => {
    const reports = await throng(rig, sides, guests, BOB)
    assert.deepEqual(
      reports.filter(({ paired }) => !paired),
      [],
    )
    const others = reports.flatMap(({ refusals }) => refusals).filter((code) => code !== 'BUSY')
    assert.deepEqual(
      others,
      [],
      'who was refused was told that the accepter was asked for more than it does at once',
    )
  })

  test('and it serves the next one as it did the first', async () => {
    const [guest = ''] = guests
    const outcome = await rig.pair(sides[0] as Side, guest, BOB, accepter, COMMAND)
    assert.ok(outcome.paired, outcome.story)
  })
})
