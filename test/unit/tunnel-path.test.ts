import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GOVERNOR_LIMITS, Governor } from '../../src/net/index.js'
import { systemRandom } from '../../src/system/index.js'
import { Path } from '../../src/wormhole/tunnel/path.js'

test('datagrams that come from 1,000 addresses a second bring about 20 challenges, whatever the number of tunnels', () => {
  const remote = { address: '198.51.100.1', port: 4000 }
  for (const tunnels of [1, 8, 64]) {
    const governor = new Governor()
    const paths = Array.from(
      { length: tunnels },
      () => new Path(remote, systemRandom, governor.allowance('peer')),
    )
    let sent = 0
    for (let now = 0; now < 10_000; now++) {
      for (const [n, path] of paths.entries()) {
        if (path.heard(now, { address: `203.0.113.${(now + n) % 250}`, port: 1 + (now % 60_000) })) sent++
      }
    }
    assert.ok(sent <= Math.min(201 * tunnels, 8000), `${sent} of ${tunnels}`)
    const { rate, burst } = GOVERNOR_LIMITS.all
    assert.ok(sent <= burst + rate * 10, `${sent} of ${tunnels}`)
  }
})

test('copies that come from elsewhere meanwhile do not keep a peer from moving', () => {
  const path = new Path({ address: '198.51.100.1', port: 4000 }, systemRandom)
  const there = { address: '192.88.1.1', port: 5000 }
  const asked = path.heard(0, there)
  assert.ok(asked)
  for (let now = 1; now < 140; now++) path.heard(now, { address: '203.0.113.9', port: now })
  assert.equal(path.answered(140, asked.value, { ...there, port: 5001 }), false)
  assert.equal(path.answered(140, Buffer.alloc(asked.value.length), there), false)
  assert.equal(path.answered(140, asked.value, there), true)
  assert.deepEqual(path.remote, there)
})
