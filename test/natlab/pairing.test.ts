import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { skip } from './fixture.js'
import { Lab, SERVER_PREFIX, type Side, type SideType } from './index.js'
import { PairingRig, type Process } from './pairing-rig.js'

/** How many pairings of each kind this suite runs; `bench/pairings.ts` runs them in full. */
const TIMES = 2

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

/** Inviter's and accepter's side. */
const PAIRS: readonly (readonly [SideType, SideType])[] = [
  ['port-restricted', 'port-restricted'],
  ['full-cone', 'address-restricted'],
  ['public', 'port-restricted'],
  ['public', 'symmetric'],
  ['symmetric', 'public'],
  ['address-restricted', 'symmetric'],
  ['port-restricted', 'blacklisting'],
  ['port-restricted', 'open-router'],
  ['open-router', 'port-restricted'],
  ['double', 'port-restricted'],
]

describe('over the DHT, through real NATs', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  const sides = new Map<string, Side>()

  /** The side of a type on one end; made when it is first asked for. */
  async function side(end: 'a' | 'b', type: SideType): Promise<Side> {
    const key = `${end} ${type}`
    const made = sides.get(key) ?? (await lab.side(`${end}${sides.size}`, type, { spared: [SERVER_PREFIX] }))
    sides.set(key, made)
    return made
  }

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  for (const [inviting, accepting] of PAIRS) {
    test(`${inviting} invites ${accepting}`, async () => {
      const from = await side('a', inviting)
      const accepter: Process = await rig.accepter(await side('b', accepting), BOB)
      for (let time = 0; time < TIMES; time++) {
        const outcome = await rig.pair(from, ALICE, BOB, accepter)
        assert.ok(outcome.paired, outcome.story)
      }
      await accepter.stop()
    })
  }
})
