import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Endpoint, silent, UdpPort } from '../../src/net/index.js'
import { decode, encode, REFRESH_INTERVAL, type Reflexive, refresh } from '../../src/stun/index.js'
import { HeldClock } from '../fixtures/stun/held-clock.js'
import { seeded } from '../fixtures/stun/random.js'

const before: Endpoint = { address: '198.51.100.7', port: 40000 }
const after: Endpoint = { address: '198.51.100.7', port: 40001 }

/** A port that is being refreshed against a server which answers with what `seen` is, or not at all. */
function refreshed(t: TestContext) {
  const clock = new HeldClock()
  const port = UdpPort.open({ address: '127.0.0.1' })
  const server = UdpPort.open({ address: '127.0.0.1' })
  t.after(() => Promise.all([port.close(), server.close()]))
  const nat: { seen: Endpoint | undefined; requests: number } = { seen: before, requests: 0 }
  server.listen(({ data, from }) => {
    nat.requests++
    if (!nat.seen) {
      clock.next()
      return
    }
    const attributes = [{ name: 'XOR-MAPPED-ADDRESS', endpoint: nat.seen }] as const
    server.send(encode({ class: 'success', transaction: decode(data).transaction, attributes }), from)
  })
  const changes: Endpoint[] = []
  const controller = new AbortController()
  const reflexive: Reflexive = {
    endpoint: before,
    base: 4,
    server: server.local(4) as Endpoint,
    serverName: 'server.test',
    rtt: 1,
  }
  const done = refresh(port, reflexive, {
    clock,
    random: seeded(2),
    log: silent,
    signal: controller.signal,
    onChange: (endpoint) => changes.push(endpoint),
  })
  return { clock, nat, changes, controller, done }
}

test('the server is asked once in each interval, and only a change is told', async (t) => {
  const { clock, nat, changes, controller, done } = refreshed(t)
  for (const [round, seen] of [before, before, after, after].entries()) {
    nat.seen = seen
    const asleep = clock.armed(REFRESH_INTERVAL)
    clock.next()
    await asleep
    assert.equal(clock.now(), (round + 1) * REFRESH_INTERVAL)
  }
  assert.equal(nat.requests, 4)
  assert.deepEqual(changes, [after])
  controller.abort()
  await done
  assert.equal(clock.waiting, 0)
})

test('a server that falls silent is asked on at the same pace', async (t) => {
  const { clock, nat, changes, controller, done } = refreshed(t)
  nat.seen = undefined
  // the whole transaction fails in 11.85 s, so that the next sleep is the rest of the interval
  const asleep = clock.armed(REFRESH_INTERVAL - 79 * 150)
  clock.next()
  await asleep
  assert.equal(nat.requests, 7)
  nat.seen = after
  const again = clock.armed(REFRESH_INTERVAL)
  clock.next()
  await again
  assert.equal(clock.now(), 2 * REFRESH_INTERVAL)
  assert.deepEqual(changes, [after])
  controller.abort()
  await done
})

test('an abort ends it quietly, asleep or in the middle of a transaction', async (t) => {
  const asleep = refreshed(t)
  asleep.controller.abort()
  await asleep.done
  assert.equal(asleep.clock.waiting, 0)

  const asking = refreshed(t)
  const asked = asking.clock.armed(150)
  asking.clock.next()
  await asked
  asking.controller.abort()
  await asking.done
  assert.equal(asking.clock.waiting, 0)
})
