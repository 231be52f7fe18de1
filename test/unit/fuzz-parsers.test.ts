import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzz, type Outcome, offerTarget, sealingTarget, stunTarget } from '../support/fuzzing.js'

/** In full (100,000 inputs each) it is bench/fuzz.ts. */
const COUNT = 3000

/** Nothing but typed errors; and the inputs were near enough to the truth for some of them to be taken. */
function onlyTyped({ counts, untyped }: Outcome, ...codes: readonly string[]): void {
  assert.deepEqual(untyped, [])
  for (const name of counts.keys()) assert.ok(codes.includes(name), `${name} is none of its errors`)
  for (const code of codes) assert.ok((counts.get(code) ?? 0) > 0, `nothing was ${code}`)
}

test('the STUN codec reads mutated messages, or calls them malformed', async () => {
  onlyTyped(await fuzz(stunTarget(), COUNT, 1), 'accepted', 'MALFORMED')
})

test('the offer parser reads mutated messages, or calls them malformed', async () => {
  onlyTyped(await fuzz(offerTarget(), COUNT, 1), 'accepted', 'MALFORMED')
})

test('the sealing refuses what was changed, by one of three codes, and by nothing else', async () => {
  const { target, close } = await sealingTarget()
  try {
    const { counts, untyped } = await fuzz(target, COUNT, 1)
    assert.deepEqual(untyped, [])
    const refused = ['MALFORMED', 'UNSEALABLE', 'SIGNATURE']
    for (const code of refused) assert.ok((counts.get(code) ?? 0) > 0, `nothing was ${code}`)
    const others = [...counts.keys()].filter((name) => !refused.includes(name) && name !== 'accepted')
    assert.deepEqual(others, [])
  } finally {
    await close()
  }
})
