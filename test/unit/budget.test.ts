import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  Budget,
  ceilingsOf,
  type Grant,
  limitsInWords,
  lowLimits,
  type Share,
} from '../../src/budget/index.js'
import { parseDescriptors, parsePorts } from '../../src/system/machine.js'
import { Prng } from '../simulation/prng.js'

const CEILINGS = { tunnels: 64, descriptors: 1600, ports: 16_000, memory: 1600 * 2 ** 20 }

/** Takes one after the other until it is refused. */
function all(share: Share, resource: 'descriptors' | 'ports' | 'tunnels', now = 0): Grant[] {
  const grants: Grant[] = []
  for (;;) {
    const taken = share.take(now, { [resource]: 1 })
    if (taken.kind === 'refused') return grants
    grants.push(taken)
  }
}

test('one identity alone may have all but an eighth, and whoever comes later still finds something', () => {
  const budget = new Budget(CEILINGS)
  assert.equal(all(budget.share('mallory'), 'descriptors').length, 1400)
  const later = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map(
    (name) => all(budget.share(name), 'descriptors').length,
  )
  assert.deepEqual(later, [100, 50, 25, 12, 6, 4, 3])
})

test('what others use already is not lost to them: up to an equal part they get more', () => {
  const budget = new Budget(CEILINGS)
  const honest = budget.share('honest')
  for (let count = 0; count < 300; count++) honest.take(0, { descriptors: 1 })
  assert.equal(all(budget.share('mallory'), 'descriptors').length, 1100)
  assert.equal(all(honest, 'descriptors').length, 100)
})

test('one identity has what another has given back', () => {
  const budget = new Budget(CEILINGS)
  const grants = all(budget.share('first'), 'descriptors')
  for (const grant of grants) grant.giveBack()
  assert.equal(all(budget.share('second'), 'descriptors').length, 1400)
})

test('all tunnels of an identity draw on one share', () => {
  const budget = new Budget(CEILINGS)
  const [one, other] = [budget.share('mallory'), budget.share('mallory')]
  all(one, 'ports')
  assert.deepEqual(all(other, 'ports'), [])
  assert.equal(other.refusal(0, { ports: 1 })?.resource, 'ports')
})

test('what was given back is there again, and nothing is given back twice', () => {
  const budget = new Budget(CEILINGS)
  const share = budget.share('mallory')
  const [grant] = all(share, 'descriptors')
  assert.ok(grant)
  assert.equal(share.take(0, { descriptors: 1 }).kind, 'refused')
  grant.giveBack()
  grant.giveBack()
  assert.equal(budget.used.descriptors, 1399)
  assert.equal(share.take(0, { descriptors: 1 }).kind, 'granted')
  assert.equal(share.take(0, { descriptors: 1 }).kind, 'refused')
})

test('of several resources either all is taken or nothing', () => {
  const budget = new Budget({ ...CEILINGS, ports: 0 })
  assert.equal(budget.share('a').take(0, { descriptors: 1, ports: 1 }).kind, 'refused')
  assert.equal(budget.used.descriptors, 0)
})

test('a grant that grows gives all of it back, and shrinks by no more than there is', () => {
  const budget = new Budget(CEILINGS)
  const grant = budget.share('a').take(0, { tunnels: 1, memory: 1000 })
  assert.ok(grant.kind === 'granted')
  assert.ok(grant.grow(0, 'memory', 500))
  grant.shrink('memory', 700)
  assert.equal(budget.used.memory, 800)
  grant.shrink('memory', 10_000)
  assert.equal(budget.used.memory, 0)
  grant.giveBack()
  assert.equal(budget.used.tunnels, 0)
  assert.equal(grant.grow(0, 'memory', 1), false, 'it is over')
})

test('a port lingers, as the system has it', () => {
  const budget = new Budget({ ...CEILINGS, ports: 16 })
  const share = budget.share('a')
  const grants = all(share, 'ports')
  for (const grant of grants) grant.giveBackPortsAt(60_000)
  assert.equal(share.take(59_999, { ports: 1 }).kind, 'refused')
  assert.equal(share.take(60_000, { ports: 1 }).kind, 'granted')
  assert.equal(budget.used.ports, 1)
})

test('an identity is warned of once a minute, and forgotten when it holds nothing', () => {
  const budget = new Budget(CEILINGS)
  assert.ok(budget.share('a').mayWarn(0))
  assert.ok(!budget.share('a').mayWarn(59_999))
  assert.ok(budget.share('a').mayWarn(60_000))
  for (let index = 0; index < 5000; index++) {
    const taken = budget.share(`${index}`).take(200_000, { ports: 1 })
    if (taken.kind === 'granted') taken.giveBack()
  }
  assert.ok(budget.remembered < 100, `${budget.remembered}`)
})

test('whatever is taken and given back, what is used is what the identities hold, and no ceiling is passed', () => {
  const prng = new Prng(4)
  const budget = new Budget({ tunnels: 10, descriptors: 100, ports: 50, memory: 10_000_000 })
  const grants: Grant[] = []
  for (let step = 0; step < 20_000; step++) {
    const name = `peer ${prng.integer(0, 5)}`
    if (prng.chance(0.6)) {
      const needs = {
        descriptors: prng.integer(0, 3),
        ports: prng.integer(0, 2),
        memory: prng.integer(0, 99_999),
      }
      const taken = budget.share(name).take(step, needs)
      if (taken.kind === 'granted') grants.push(taken)
    } else if (grants.length > 0) {
      const [grant] = grants.splice(prng.integer(0, grants.length - 1), 1)
      if (prng.chance(0.3)) grant?.giveBackPortsAt(step + 100)
      else grant?.giveBack()
    }
    for (const resource of ['descriptors', 'ports', 'memory'] as const) {
      assert.ok(budget.used[resource] >= 0 && budget.used[resource] <= budget.ceilings[resource])
    }
  }
  for (const grant of grants) grant.giveBack()
  budget.share('x').refusal(1_000_000, {})
  assert.deepEqual(budget.used, { tunnels: 0, descriptors: 0, ports: 0, memory: 0 })
})

test('ceilings leave the program what it needs to hear its peers', () => {
  const GIB = 2 ** 30
  const machine = { descriptors: 65_536, ports: 28_232, memory: 2 * GIB, heap: 2 * GIB }
  assert.deepEqual(ceilingsOf(machine), {
    tunnels: 960,
    descriptors: 65_280,
    ports: 24_703,
    memory: 960 * 2 ** 20,
  })
  assert.equal(ceilingsOf({ ...machine, descriptors: 64 }).descriptors, 24)
  assert.equal(ceilingsOf({ ...machine, descriptors: 1024 }).descriptors, 868)
  assert.equal(ceilingsOf({ ...machine, memory: 64 * 2 ** 20 }).memory, 32 * 2 ** 20)
  assert.equal(ceilingsOf({ ...machine, heap: 200 * 2 ** 20 }).memory, 200 * 2 ** 20)
})

test('with the fewest descriptors several identities have a tunnel and two connections each', () => {
  const budget = new Budget(ceilingsOf({ descriptors: 64, ports: 28_232, memory: 2 ** 30, heap: 2 ** 31 }))
  all(budget.share('mallory'), 'descriptors')
  for (const name of ['a', 'b', 'c']) {
    const share = budget.share(name)
    for (const descriptors of [2, 1, 1]) assert.equal(share.take(0, { descriptors }).kind, 'granted', name)
  }
})

test('limits are read as Linux writes them; without any there are usual ones', () => {
  const limits =
    'Limit                     Soft Limit           Hard Limit           Units     \n' +
    'Max open files            1024                 524288               files     \n'
  assert.equal(parseDescriptors(limits), 1024)
  assert.equal(parseDescriptors(limits.replace('1024  ', 'unlimited')), 1_048_576)
  assert.equal(parseDescriptors(''), 1024)
  assert.equal(parsePorts('32768\t60999\n'), 28_232)
  assert.equal(parsePorts(''), 16_384)
})

test('limits that are low are told, each with what to do, and those of most machines are not', () => {
  const usual = { descriptors: 1024, ports: 28_232, memory: 2 ** 30, heap: 2 ** 31 }
  assert.deepEqual(lowLimits(usual), [])
  assert.match(limitsInWords(usual), /868 files and sockets, 24703 local ports, 448 MiB/)
  const [first, second, third] = lowLimits({ descriptors: 64, ports: 1000, memory: 2 ** 27, heap: 2 ** 31 })
  assert.match(`${first?.sentence} ${first?.advice}`, /64 files and sockets, 24 of them.*LimitNOFILE/)
  assert.match(`${second?.sentence} ${second?.advice}`, /1000 local ports, 875 of them.*ip_local_port_range/)
  assert.match(`${third?.sentence} ${third?.advice}`, /32 MiB of memory.*MemoryMax/)
})
