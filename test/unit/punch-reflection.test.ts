import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GOVERNOR_LIMITS } from '../../src/net/index.js'
import { ATTACKS } from '../support/reflection.js'

const { checks, searches, address, ports, searchedPorts } = GOVERNOR_LIMITS

/** How long the longest attack takes, in s. */
const SECONDS = 600

for (const [name, attack] of Object.entries(ATTACKS)) {
  test(`a third party is spared: ${name}`, () => {
    const harm = attack()
    assert.equal(harm.immediate, 0, 'nothing goes out in answer')
    assert.ok(harm.packets > 0)
    const search = name.includes('search')
    const most = search
      ? searches.burst + checks.burst + (searches.rate + checks.rate) * SECONDS
      : checks.burst + checks.rate * 61
    assert.ok(harm.packets <= most, `${harm.packets} packets`)
    const different = search ? searchedPorts : ports
    const atMost = different.burst + different.rate * (search ? SECONDS : 61)
    assert.ok(harm.endpoints <= atMost, `${harm.endpoints} ports`)
    assert.ok(harm.peak <= (search ? address.rate : 100 + 40), `${harm.peak} in a second`)
  })
}
