import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../../src/net/index.js'
import {
  compareMappings,
  decode,
  encode,
  FAMILY_GRACE,
  type Reflexive,
  Survey,
} from '../../src/stun/index.js'
import { seeded } from '../fixtures/stun/random.js'

const four: Endpoint = { address: '192.0.2.3', port: 3478 }
const otherFour: Endpoint = { address: '192.0.2.4', port: 3478 }
const six: Endpoint = { address: '2001:db8::3', port: 3478 }
const seenFour: Endpoint = { address: '198.51.100.7', port: 40000 }
const seenSix: Endpoint = { address: '2001:db8:1::7', port: 40000 }

function survey(names: readonly string[], timeout = 5000) {
  const machine = new Survey({ names, families: [4, 6], random: seeded(1), timeout }, 0)
  const requests = new Map<string, Buffer>()
  const collect = () => {
    for (const { data, to } of machine.transmits()) requests.set(to.address, data)
  }
  /** The server answers its latest request. */
  const answer = (now: number, server: Endpoint, endpoint: Endpoint) => {
    collect()
    const { transaction } = decode(requests.get(server.address) ?? Buffer.alloc(0))
    const attributes = [{ name: 'XOR-MAPPED-ADDRESS', endpoint }] as const
    machine.receive(now, encode({ class: 'success', transaction, attributes }), server)
  }
  return { machine, collect, answer, requests }
}

test('all servers are asked in the same instant', () => {
  const { machine, collect, requests } = survey(['a', 'b'])
  machine.ask(0, 'a', [four, six])
  machine.ask(0, 'b', [otherFour, four])
  collect()
  assert.deepEqual([...requests.keys()].sort(), [four.address, otherFour.address, six.address])
})

test('the first good answer of each family wins, and it settles when both are there', () => {
  const { machine, answer } = survey(['a', 'b'])
  machine.ask(0, 'a', [four, six])
  machine.ask(0, 'b', [otherFour])
  answer(20, otherFour, seenFour)
  assert.deepEqual(machine.state, { name: 'settling', until: 20 + FAMILY_GRACE })
  answer(30, four, { ...seenFour, port: 1 })
  answer(40, six, seenSix)
  assert.deepEqual(machine.state, {
    name: 'settled',
    reflexive: [
      { endpoint: seenFour, base: 4, server: otherFour, serverName: 'b', rtt: 20 },
      { endpoint: seenSix, base: 6, server: six, serverName: 'a', rtt: 40 },
    ],
  })
})

test('the other family is waited for no longer than its grace, and not at all where nobody of it is asked', () => {
  const waiting = survey(['a'])
  waiting.machine.ask(0, 'a', [four, six])
  waiting.answer(20, four, seenFour)
  assert.equal(waiting.machine.due.at, 20 + FAMILY_GRACE)
  waiting.machine.tick(20 + FAMILY_GRACE)
  assert.ok(waiting.machine.state.name === 'settled')
  assert.deepEqual(
    waiting.machine.state.reflexive.map(({ base }) => base),
    [4],
  )
  const alone = survey(['a'])
  alone.machine.ask(0, 'a', [four])
  alone.answer(20, four, seenFour)
  assert.equal(alone.machine.state.name, 'settled')
})

test('later answers are handed out, once each, and compare to a mapping behaviour', () => {
  const { machine, answer } = survey(['a', 'b'])
  machine.ask(0, 'a', [four])
  machine.ask(0, 'b', [otherFour])
  answer(20, four, seenFour)
  assert.equal(machine.state.name, 'settled')
  const answers = machine.answers()
  assert.equal(compareMappings(answers, 4), 'unknown')
  assert.notEqual(machine.due.at, Number.POSITIVE_INFINITY, 'the other server is still asked')
  answer(60, otherFour, seenFour)
  answers.push(...machine.answers())
  assert.equal(answers.length, 2)
  assert.equal(compareMappings(answers, 4), 'endpoint-independent')
  assert.equal(machine.due.at, Number.POSITIVE_INFINITY)
})

test('a name that fails or hangs holds up nobody', () => {
  const { machine, answer } = survey(['bad', 'slow', 'good'])
  machine.fail(1, 'bad', { kind: 'unresolved', code: 'ENOTFOUND' })
  assert.equal(machine.state.name, 'asking')
  machine.ask(1, 'good', [four])
  answer(30, four, seenFour)
  machine.tick(30 + FAMILY_GRACE)
  assert.equal(machine.state.name, 'settled')
})

test('when nobody is left it has failed at once, with a reason for each', () => {
  const { machine, collect, requests } = survey(['bad', 'refuses'])
  machine.fail(1, 'bad', { kind: 'unresolved', code: 'ENOTFOUND' })
  machine.ask(2, 'refuses', [four])
  collect()
  const { transaction } = decode(requests.get(four.address) ?? Buffer.alloc(0))
  const attributes = [{ name: 'ERROR-CODE', code: 300, reason: 'Try Alternate' }] as const
  machine.receive(9, encode({ class: 'error', transaction, attributes }), four)
  assert.ok(machine.state.name === 'failed')
  assert.deepEqual(
    machine.state.tried.map(({ serverName, failure }) => [serverName, failure.kind]),
    [
      ['refuses', 'refused'],
      ['bad', 'unresolved'],
    ],
  )
})

test('at its time-out everything that is still open has failed', () => {
  const { machine } = survey(['slow', 'silent'], 1000)
  machine.ask(0, 'silent', [four])
  while (machine.due.at !== Number.POSITIVE_INFINITY) machine.tick(machine.due.at)
  assert.ok(machine.state.name === 'failed')
  assert.deepEqual(
    machine.state.tried.map(({ failure }) => failure),
    [
      { kind: 'silent', requests: 3 },
      { kind: 'unresolved', code: 'timeout' },
    ],
  )
})

test('mappings are compared over different addresses of one family', () => {
  const of = (server: Endpoint, endpoint: Endpoint): Reflexive => ({
    endpoint,
    base: server.address.includes(':') ? 6 : 4,
    server,
    serverName: '',
    rtt: 1,
  })
  const elsewhere = { ...seenFour, port: 40001 }
  assert.equal(compareMappings([], 4), 'unknown')
  assert.equal(compareMappings([of(four, seenFour)], 4), 'unknown')
  assert.equal(compareMappings([of(four, seenFour), of(six, seenSix)], 4), 'unknown')
  assert.equal(compareMappings([of(four, seenFour), of({ ...four, port: 9 }, seenFour)], 4), 'unknown')
  assert.equal(compareMappings([of(four, seenFour), of({ ...four, port: 9 }, elsewhere)], 4), 'symmetric')
  assert.equal(compareMappings([of(four, seenFour), of(otherFour, elsewhere)], 4), 'symmetric')
  assert.equal(compareMappings([of(four, seenFour), of(otherFour, seenFour)], 4), 'endpoint-independent')
})
