import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Attribute,
  decode,
  describeFailure,
  encode,
  find,
  INITIAL_RTO,
  MAX_REQUESTS,
  type MessageContent,
  Transaction,
} from '../../src/stun/index.js'
import { seeded } from '../fixtures/stun/random.js'

const server = { address: '192.0.2.3', port: 3478 }
const reflexive = { address: '198.51.100.7', port: 40000 }
const mapped: Attribute = { name: 'XOR-MAPPED-ADDRESS', endpoint: reflexive }

/** A transaction that has sent its first request at 0 ms, and what answers it. */
function started() {
  const transaction = new Transaction(server, seeded(7), 0)
  const request = decode(transaction.transmits()[0]?.data ?? Buffer.alloc(0))
  const answer = (content: Partial<MessageContent>) =>
    encode({ class: 'success', transaction: request.transaction, attributes: [mapped], ...content })
  return { transaction, request, answer }
}

test('a request is a bare Binding request of 20 bytes with an id of its own', () => {
  const random = seeded(1)
  const ids = [1, 2, 3].map(() => {
    const [transmit] = new Transaction(server, random, 0).transmits()
    assert.deepEqual(transmit?.to, server)
    assert.equal(transmit?.data.length, 20)
    return decode(transmit?.data ?? Buffer.alloc(0)).transaction.toString('hex')
  })
  assert.equal(new Set(ids).size, 3)
})

test('requests are repeated after 150 ms, then after twice as long each time, and given up on after 79 RTO', () => {
  const transaction = new Transaction(server, seeded(7), 1000)
  const times: number[] = []
  const sent = new Set<string>()
  let now = 1000
  while (transaction.due.at !== Number.POSITIVE_INFINITY) {
    for (const { data } of transaction.transmits()) {
      times.push(now - 1000)
      sent.add(data.toString('hex'))
    }
    transaction.tick(transaction.due.at - 1)
    assert.deepEqual(transaction.transmits(), [], 'nothing is due before the deadline')
    now = transaction.due.at
    transaction.tick(now)
  }
  assert.deepEqual(times, [0, 150, 450, 1050, 2250, 4650, 9450])
  assert.equal(now - 1000, 79 * INITIAL_RTO)
  assert.equal(sent.size, 1, 'a retransmission is the same bytes')
  assert.deepEqual(transaction.state, {
    name: 'failed',
    failure: { kind: 'silent', requests: MAX_REQUESTS },
  })
})

test('the answer gives the reflexive endpoint and the time it took', () => {
  const { transaction, answer } = started()
  assert.ok(transaction.receive(23, answer({}), server))
  assert.ok(transaction.state.name === 'answered')
  assert.deepEqual(transaction.state.endpoint, reflexive)
  assert.equal(transaction.state.rtt, 23)
  assert.equal(transaction.due.at, Number.POSITIVE_INFINITY)
  transaction.tick(10_000)
  assert.deepEqual(transaction.transmits(), [])
  assert.ok(!transaction.receive(24, answer({}), server), 'a second answer is nobody’s')
})

test('what is not the answer of that server to that request is left alone', () => {
  const { transaction, request, answer } = started()
  const good = answer({})
  const strangers: [Buffer, { address: string; port: number }, string][] = [
    [good, { ...server, port: 3479 }, 'another port'],
    [good, { ...server, address: '192.0.2.4' }, 'another address'],
    [answer({ transaction: Buffer.alloc(12) }), server, 'another id'],
    [request.raw, server, 'the request itself'],
    [answer({ class: 'indication' }), server, 'an indication'],
    [answer({ method: 3 }), server, 'another method'],
    [good.subarray(0, 31), server, 'a truncated answer'],
    [answer({ class: 'error' }), server, 'an error without a code'],
    [Buffer.from('hello, this is no STUN at all'), server, 'noise'],
    [Buffer.alloc(0), server, 'an empty datagram'],
  ]
  const damaged = answer({ fingerprint: true })
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1)
  strangers.push([damaged, server, 'a wrong FINGERPRINT'])
  for (const [data, from, what] of strangers) {
    assert.ok(!transaction.receive(5, data, from), what)
    assert.equal(transaction.state.name, 'waiting', what)
  }
  assert.ok(transaction.receive(6, good, server))
})

test('an error response is the end, and says which', () => {
  const cases: [readonly Attribute[], RegExp][] = [
    [
      [
        { name: 'ERROR-CODE', code: 420, reason: 'Unknown Attribute' },
        { name: 'UNKNOWN-ATTRIBUTES', types: [3] },
      ],
      /^it answered with error 420 \(Unknown Attribute\)$/,
    ],
    [
      [
        { name: 'ERROR-CODE', code: 300, reason: 'Try\nAlternate\u001b[2J' },
        { name: 'ALTERNATE-SERVER', endpoint: { address: '192.0.2.99', port: 3478 } },
      ],
      /^it answered with error 300 \(Try\?Alternate\?\[2J\), and names 192\.0\.2\.99:3478 instead$/,
    ],
    [[{ name: 'ERROR-CODE', code: 500, reason: '' }], /^it answered with error 500$/],
  ]
  for (const [attributes, words] of cases) {
    const { transaction, answer } = started()
    assert.ok(transaction.receive(9, answer({ class: 'error', attributes }), server))
    assert.ok(transaction.state.name === 'failed')
    assert.match(describeFailure(transaction.state.failure), words)
  }
})

test('an answer that needs unknown attributes is not used', () => {
  const { transaction, answer } = started()
  const attributes: Attribute[] = [mapped, { name: 'UNKNOWN', type: 0x7777, value: Buffer.alloc(0) }]
  transaction.receive(9, answer({ attributes }), server)
  assert.deepEqual(transaction.state, {
    name: 'failed',
    failure: { kind: 'incomprehensible', types: [0x7777] },
  })
  const optional: Attribute[] = [mapped, { name: 'UNKNOWN', type: 0x8777, value: Buffer.alloc(0) }]
  const tolerant = started()
  tolerant.transaction.receive(9, tolerant.answer({ attributes: optional }), server)
  assert.equal(tolerant.transaction.state.name, 'answered')
})

test('an address that nobody can have is not believed', () => {
  for (const [address, port] of [
    ['0.0.0.0', 40000],
    ['224.0.0.1', 40000],
    ['255.255.255.255', 40000],
    ['::', 40000],
    ['ff02::1', 40000],
    ['198.51.100.7', 0],
  ] as const) {
    const { transaction, answer } = started()
    const endpoint = { address, port }
    transaction.receive(9, answer({ attributes: [{ name: 'XOR-MAPPED-ADDRESS', endpoint }] }), server)
    assert.deepEqual(transaction.state, { name: 'failed', failure: { kind: 'bogus', endpoint } })
  }
  const { transaction, answer } = started()
  transaction.receive(9, answer({ attributes: [] }), server)
  assert.ok(transaction.state.name === 'failed')
  assert.equal(describeFailure(transaction.state.failure), 'its answer names no address')
})

test('XOR-MAPPED-ADDRESS is believed before MAPPED-ADDRESS, which serves where there is nothing else', () => {
  const plain: Attribute = { name: 'MAPPED-ADDRESS', endpoint: { address: '203.0.113.1', port: 1 } }
  const both = started()
  both.transaction.receive(9, both.answer({ attributes: [plain, mapped] }), server)
  assert.ok(both.transaction.state.name === 'answered')
  assert.deepEqual(both.transaction.state.endpoint, reflexive)
  const old = started()
  old.transaction.receive(9, old.answer({ attributes: [plain] }), server)
  assert.ok(old.transaction.state.name === 'answered')
  assert.deepEqual(old.transaction.state.endpoint, { address: '203.0.113.1', port: 1 })
})

test('on a link that loses anything short of every packet, it is answered as soon as one round trip gets through', () => {
  const losses = fc.array(fc.record({ request: fc.boolean(), answer: fc.boolean() }), {
    minLength: MAX_REQUESTS,
    maxLength: MAX_REQUESTS,
  })
  const sentAt = [0, 150, 450, 1050, 2250, 4650, 9450]
  fc.assert(
    fc.property(losses, fc.integer({ min: 1, max: 149 }), (losses, rtt) => {
      const transaction = new Transaction(server, seeded(3), 0)
      const underway: { at: number; data: Buffer }[] = []
      let requests = 0
      let now = 0
      while (transaction.state.name === 'waiting') {
        for (const { data } of transaction.transmits()) {
          const lost = losses[requests++]
          if (lost?.request || lost?.answer) continue
          const { transaction: id } = decode(data)
          const answer = encode({ class: 'success', transaction: id, attributes: [mapped] })
          underway.push({ at: now + rtt, data: answer })
        }
        const arrival = underway[0]
        if (arrival && arrival.at <= transaction.due.at) {
          underway.shift()
          now = arrival.at
          transaction.receive(now, arrival.data, server)
        } else {
          now = transaction.due.at
          transaction.tick(now)
        }
      }
      const first = losses.findIndex(({ request, answer }) => !request && !answer)
      if (first < 0) assert.equal(transaction.state.name, 'failed')
      else {
        assert.ok(transaction.state.name === 'answered')
        assert.equal(transaction.state.rtt, (sentAt[first] ?? 0) + rtt)
        assert.equal(find(transaction.state.message, 'XOR-MAPPED-ADDRESS')?.endpoint.port, reflexive.port)
      }
    }),
    { numRuns: 1000, seed: 1 },
  )
})
