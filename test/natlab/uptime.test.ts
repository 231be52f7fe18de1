import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { skip } from './fixture.js'
import { Lab, type Side, smallDisk } from './index.js'
import { PairingRig, type Process } from './pairing-rig.js'
import { UPHEAVALS } from './upheavals.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

/** How long an inviter tries that is started as soon as the accepter can be reached again, in s. */
const REACHABLE_AGAIN = 10
/** The size of a disk that is soon full, in bytes. */
const DISK = 262_144

describe('an idle accepter behind a NAT is invited successfully at once', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let inviting: Side
  let accepting: Side
  let accepter: Process

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
    inviting = await lab.side('a', 'port-restricted')
    accepting = await lab.side('b', 'port-restricted')
    accepter = await rig.accepter(accepting, BOB)
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  for (const { name, happen } of UPHEAVALS) {
    test(`after this: ${name}`, async (context) => {
      await happen({ lab, rig, accepting, accepter })
      const outcome = await rig.pair(inviting, ALICE, BOB, accepter, [`--timeout=${REACHABLE_AGAIN}`])
      assert.ok(outcome.paired, outcome.story)
      context.diagnostic(`both commands ran after ${outcome.both} ms`)
    })
  }
})

describe('an accepter whose disk is full', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let inviting: Side
  let accepting: Side
  let disk: { remove: () => void }
  let state: string

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
    inviting = await lab.side('a', 'port-restricted')
    accepting = await lab.side('b', 'port-restricted')
    state = join(rig.directory, 'full')
    await mkdir(state)
    disk = smallDisk(state, DISK)
  })
  after(async () => {
    disk?.remove()
    await rig?.close()
    await lab?.close()
  })

  /** Takes what is left of the disk. */
  async function fill(): Promise<void> {
    await assert.rejects(writeFile(join(state, 'ballast'), Buffer.alloc(2 * DISK)), { code: 'ENOSPC' })
  }

  test('from the start is invited successfully all the same', async () => {
    await fill()
    const accepter = await rig.accepter(accepting, BOB, [`--state-dir=${state}`])
    await accepter.said(/^the DHT key will be lost/)
    const outcome = await rig.pair(inviting, ALICE, BOB, accepter, [`--timeout=${REACHABLE_AGAIN}`])
    assert.ok(outcome.paired, `${outcome.story}\n${accepter.story()}`)
    await accepter.stop()
  })

  test('while it waits is invited successfully, and again when there is room', async () => {
    await rm(join(state, 'ballast'))
    const accepter = await rig.accepter(accepting, BOB, [`--state-dir=${state}`])
    await fill()
    for (const room of [false, true]) {
      if (room) await rm(join(state, 'ballast'))
      const outcome = await rig.pair(inviting, ALICE, BOB, accepter, [`--timeout=${REACHABLE_AGAIN}`])
      assert.ok(outcome.paired, `${outcome.story}\n${accepter.story()}`)
    }
    await accepter.stop()
  })
})
