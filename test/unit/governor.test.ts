import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Allowance, GOVERNOR_LIMITS, Governor, type Limit } from '../../src/net/index.js'
import { World } from '../support/world.js'

const at = (address: string, port = 4000) => ({ address, port })

/** What a limit lets through in so many ms at most. */
const most = ({ rate, burst }: Limit, ms: number) => burst + (rate * ms) / 1000

/** Asks as often as it may for so many ms, and says at which ms it was given something. */
function greedy(allowance: Allowance, ms: number, to: (n: number) => { address: string; port: number }) {
  const given: number[] = []
  let next = 0
  let tries = 0
  for (let now = 0; now < ms; now++) {
    while (next <= now) {
      const wait = allowance.take(now, to(tries++), 'check')
      if (wait === 0) given.push(now)
      else next = now + wait
    }
  }
  return given
}

test('no more goes out in all than the limit, whatever the number of identities and addresses', () => {
  for (const identities of [1, 3, 40]) {
    const governor = new Governor()
    let sent = 0
    for (let now = 0; now < 20_000; now += 5) {
      for (let n = 0; n < identities; n++) {
        const to = at(`198.51.${n}.${now % 250}`)
        if (governor.allowance(`peer ${n}`).take(now, to, 'check') === 0) sent++
      }
    }
    assert.ok(sent <= most(GOVERNOR_LIMITS.all, 20_000), `${sent} of ${identities}`)
    assert.ok(identities === 1 || sent > most(GOVERNOR_LIMITS.all, 18_000), `${sent} of ${identities}`)
  }
})

test('one address gets no more than its limits, from however many identities', () => {
  const governor = new Governor()
  const sent = new Set<number>()
  let packets = 0
  for (let now = 0; now < 600_000; now += 10) {
    for (let n = 0; n < 4; n++) {
      const port = 1 + ((now / 10 + n * 999) % 60_000)
      if (governor.allowance(`peer ${n}`).take(now, at('203.0.113.7', port), 'check') !== 0) continue
      packets++
      sent.add(port)
    }
  }
  assert.ok(packets <= most(GOVERNOR_LIMITS.checks, 600_000), `${packets} packets`)
  assert.ok(sent.size <= most(GOVERNOR_LIMITS.ports, 600_000), `${sent.size} ports`)
})

test('the addresses of one /64 are one address', () => {
  const governor = new Governor()
  const sent = greedy(governor.allowance('peer'), 10_000, (n) =>
    at(`2001:db8:0:7::${(n % 9999).toString(16)}`),
  )
  assert.ok(sent.length <= most(GOVERNOR_LIMITS.checks, 10_000), `${sent.length}`)
})

test('an identity has a budget over all addresses and sessions', () => {
  const governor = new Governor()
  let sent = 0
  for (let now = 0; now < 600_000; now += 4) {
    const to = at(`198.${now % 97}.${now % 251}.${now % 241}`)
    if (governor.allowance('peer').take(now, to, 'search') === 0) sent++
  }
  assert.ok(sent <= most(GOVERNOR_LIMITS.identity, 600_000), `${sent}`)
})

test('an identity that takes all it can keeps no other one waiting', () => {
  for (const hostile of [1, 2, 5]) {
    const governor = new Governor()
    const name = (n: number) => `hostile ${hostile}.${n}`
    const waits: number[] = []
    for (let now = 0; now < 10_000; now++) {
      for (let n = 0; n < hostile; n++) {
        for (let tries = 0; tries < 4; tries++) {
          governor.allowance(name(n)).take(now, at(`198.51.${n}.${(now + tries) % 250}`), 'check')
        }
      }
      // another one begins every second, and wants six packets
      if (now % 1000 !== 999) continue
      const honest = governor.allowance(`honest ${hostile} ${now}`)
      for (let n = 0; n < 6; n++) waits.push(honest.take(now, at(`192.88.1.${n + 1}`, 1 + now), 'check'))
    }
    assert.deepEqual(
      waits.filter((wait) => wait > 0),
      [],
      `beside ${hostile}`,
    )
  }
})

test('what went to an address that answers after all is given back, to the identity that it answered alone', () => {
  const governor = new Governor()
  const peer = governor.allowance('peer')
  let now = 0
  const spend = (allowance: Allowance, address: string, packets: number) => {
    for (let sent = 0; sent < packets; now += 10) {
      if (allowance.take(now, at(address, 1 + (sent % 4000)), 'search') === 0) sent++
    }
  }
  spend(peer, '203.0.113.1', 5500)
  peer.answered(now, '203.0.113.1')
  const before = now
  spend(peer, '203.0.113.2', 5500)
  assert.ok(now - before < 90_000, 'the whole budget is there again')
  // neither does the other identity find that address answered
  const other = governor.allowance('other')
  let sent = 0
  for (const end = now + 60_000; now < end; now += 10) {
    if (other.take(now, at('203.0.113.1', 9), 'check') === 0) sent++
  }
  assert.ok(sent <= most(GOVERNOR_LIMITS.checks, 60_000))
})

test('what is remembered is bounded', () => {
  const governor = new Governor()
  for (let now = 0; now < 200_000; now++) {
    const to = at(`10.${now % 199}.${now % 251}.${now % 241}`, 1 + (now % 65_000))
    governor.allowance(`peer ${now % 5000}`).take(now, to, 'check')
  }
  const { addresses, identities } = governor.remembered
  assert.ok(addresses <= 4096 && identities <= 1024, `${addresses}, ${identities}`)
})

test('every session of a process asks the one governor that it was given, in both roles', async () => {
  const names = ['alice@px.test/laptop', 'bob@px.test/server', 'carol@px.test/phone'] as const
  const [, bob] = names
  const world = await World.create(names)
  const governor = new Governor()
  try {
    const accepter = await world.accepter(bob, { governor })
    for (const [nth, name] of [names[0], names[2]].entries()) {
      await world.invite(name, bob, { governor })
      await accepter.next()
      // the peers of the accepter, and the one peer of the inviters
      assert.equal(governor.remembered.identities, 2 + nth)
    }
  } finally {
    await world.close()
  }
})
