import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mutateIdentities } from '../support/identity-mutations.js'

test('mutated names, certificates and handouts are taken, or refused with an error of this program', async () => {
  const tallies = await mutateIdentities(4500, 20261121)
  for (const [kind, { inputs, refused, wrong }] of tallies) {
    assert.deepEqual(wrong, [], kind)
    assert.ok(refused > inputs / 20, `${kind}: ${refused} of ${inputs} refused`)
  }
})
