import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ATTACKS } from '../support/hostile/attacks.js'
import { Stage } from '../support/hostile/stage.js'

/** How long the honest tunnel echoes meanwhile, in ms; the whole measure is bench/hostile. */
const WHILE = 1500

describe('while a hostile peer does all it can at once', () => {
  let stage: Stage
  let end: () => Promise<void>

  before(async () => {
    stage = await Stage.open()
    end = await stage.attack(ATTACKS.map(({ name }) => name))
  })
  after(async () => {
    await end?.()
    await stage?.close()
  })

  test('another peer pairs, and again', async () => {
    for (let time = 0; time < 3; time++) assert.ok(Number.isFinite(await stage.pair()))
  })

  test('the tunnel of a third one answers', async () => {
    const echoes = await stage.echoes(WHILE)
    assert.ok(echoes.length > 1 && echoes.every(Number.isFinite), `${echoes.length} echoes`)
  })

  test('the log of the accepter stays readable', () => {
    assert.equal(stage.accepter.times(/MaxListenersExceededWarning/), 0)
    // 120 invites a minute may become tunnels, with a few lines each; the attack leaves 1,000 messages a second
    assert.ok(stage.lines < 1500, `${stage.lines} lines`)
  })
})
