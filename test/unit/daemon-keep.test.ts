import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemRandom } from '../../src/cli/clock.js'
import { waitBefore } from '../../src/daemon/index.js'
import { PlexusError } from '../../src/errors/index.js'
import { PortRange, UdpPort } from '../../src/net/index.js'

const least = () => Buffer.alloc(4)
const most = () => Buffer.alloc(4, 0xff)

test('the waits between attempts double, up to a minute and a half, and are never none', () => {
  assert.deepEqual(
    [1, 2, 3, 4].map((failures) => waitBefore(failures, least)),
    [500, 1000, 2000, 4000],
  )
  assert.equal(waitBefore(1000, least), 30_000)
  assert.equal(waitBefore(1000, most), 90_000)
})

test('two inviters do not wait equally long', () => {
  const waits = new Set(Array.from({ length: 20 }, () => waitBefore(5, systemRandom)))
  assert.ok(waits.size > 10)
})

test('a range gives its free ports in turn, and none that is held', async () => {
  const range = new PortRange(47_420, 47_422)
  const foreign = UdpPort.open({ address: '127.0.0.1', port: 47_421 })
  const numberOf = (port: UdpPort) => port.local(4)?.port
  const [first, second] = [range.open('127.0.0.1'), range.open('127.0.0.1')]
  try {
    assert.deepEqual([first, second].map(numberOf), [47_420, 47_422])
    const full = (thrown: unknown) => thrown instanceof PlexusError && thrown.code === 'ADDRESS_IN_USE'
    assert.throws(() => range.open('127.0.0.1'), full)
    const release = range.hold(47_420)
    await first.close()
    assert.equal(range.held, 1)
    assert.throws(() => range.open('127.0.0.1'), full)
    release()
    const third = range.open('127.0.0.1')
    assert.equal(numberOf(third), 47_420)
    await third.close()
  } finally {
    for (const port of [foreign, first, second]) await port.close()
  }
})
