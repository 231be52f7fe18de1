import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { sleep } from '../../src/net/index.js'
import { systemClock } from '../../src/system/index.js'
import { Stage } from '../support/hostile/stage.js'

/** What some small machines and old init systems give a program: its own 20 and little more. */
const FEW = 64

/** How long the attack lasts before anybody else comes, in ms: what it can take it has by then. */
const WHILE = 3000

describe('an accepter with few descriptors, of which a hostile peer takes all it can', () => {
  let stage: Stage
  let end: () => Promise<void>

  before(async () => {
    stage = await Stage.open({ descriptors: FEW })
    end = await stage.attack(['connections held', 'tunnels without end'])
    await sleep(systemClock, WHILE)
  })
  after(async () => {
    await end?.()
    await stage?.close()
  })

  test('another peer pairs, and again', async () => {
    for (let time = 0; time < 3; time++) assert.ok(Number.isFinite(await stage.pair()))
  })

  test('the tunnel of a third one takes a new connection', async () => {
    const echoes = await stage.echoes(500)
    assert.ok(echoes.length > 1 && echoes.every(Number.isFinite), `${echoes.length} echoes`)
  })

  test('some descriptors stay free, and the log says once who has had its share', () => {
    assert.ok(stage.descriptors < FEW - 4, `${stage.descriptors} of ${FEW}`)
    assert.equal(stage.accepter.times(/EMFILE/), 0)
    assert.ok(stage.accepter.times(/refusing more from mallory/) <= 1)
  })
})
