import { test } from 'node:test'
import { conformanceChecks } from '../../rendezvous/conformance.js'
import { openRendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { contextFor, openNetwork, temporaryDirectory } from './rendezvous.js'

for (const [kind, nodes] of [
  ['the DHT of one node', 1],
  ['a DHT of 24 nodes', 24],
  ['a directory', 0],
  ['a DHT and a directory at once', 1],
] as const) {
  test(`over ${kind}`, async (t) => {
    const urls = [
      ...(nodes > 0 ? [`dht:${(await openNetwork(t, nodes)).bootstrap}`] : []),
      ...(kind.includes('directory') ? [`dir:${temporaryDirectory(t)}`] : []),
    ]
    for (const check of conformanceChecks()) {
      await t.test(check.name, async (t) => {
        const inviter = await openRendezvous(urls, contextFor(t))
        const accepter = await openRendezvous(urls, contextFor(t))
        try {
          await check.run({ inviter, accepter, clock: systemClock, random: systemRandom })
        } finally {
          await Promise.all([inviter.close(), accepter.close()])
        }
      })
    }
  })
}
