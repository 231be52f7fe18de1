import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { skip } from './fixture.js'
import { Lab } from './index.js'
import { CELLS, type Cell, hasPath } from './matrix.js'
import { type CellResult, MatrixRig } from './matrix-rig.js'

/** A cell by what has to come of it. */
function claim({ inviter, accepter, expected }: Cell): string {
  return `${inviter} × ${accepter}: ${hasPath(expected) ? `a direct path by ${expected}` : expected}`
}

describe('every pair of networks has a direct path, or a reason why not', { skip }, () => {
  const results = new Map<Cell, Promise<CellResult>>()
  let lab: Lab
  let rig: MatrixRig

  before(async () => {
    lab = await Lab.open()
    rig = await MatrixRig.open(lab)
    // side by side, for most of the time of each is spent waiting
    const settle = new Map<Cell, (result: CellResult) => void>()
    let fail: (reason: unknown) => void = () => {}
    const failed = new Promise<never>((_, reject) => {
      fail = reject
    })
    failed.catch(() => {})
    for (const cell of CELLS) {
      const result = new Promise<CellResult>((done) => settle.set(cell, done))
      results.set(cell, Promise.race([result, failed]))
    }
    rig.run(CELLS, 1, (result) => settle.get(result.cell)?.(result)).catch(fail)
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  for (const cell of CELLS) {
    test(claim(cell), async () => {
      const result = await results.get(cell)
      assert.equal(result?.complaint, undefined)
    })
  }
})
