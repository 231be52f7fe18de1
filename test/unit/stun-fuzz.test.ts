import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PlexusError } from '../../src/errors/index.js'
import { canonicalAddress, scopeOf } from '../../src/net/index.js'
import {
  type Attribute,
  decode,
  encode,
  type Message,
  type MessageContent,
  mappedEndpoint,
  shortTermKey,
  Transaction,
  verifyFingerprint,
  verifyIntegrity,
  verifyIntegritySha256,
} from '../../src/stun/index.js'
import { numbers } from '../fixtures/stun/random.js'
import * as vectors from '../fixtures/stun/vectors.js'

const key = shortTermKey(vectors.SHORT_TERM_PASSWORD)
const samples = [
  vectors.SAMPLE_REQUEST,
  vectors.SAMPLE_IPV4_RESPONSE,
  vectors.SAMPLE_IPV6_RESPONSE,
  vectors.SAMPLE_LONG_TERM_REQUEST,
  vectors.SAMPLE_SHA256_REQUEST,
]

/** Decodes and uses everything; the only error that may come out of it is MALFORMED. */
function read(data: Uint8Array): Message | undefined {
  try {
    const message = decode(data)
    mappedEndpoint(message)
    verifyIntegrity(message, key)
    verifyIntegritySha256(message, key, 16)
    verifyFingerprint(message)
    return message
  } catch (error) {
    assert.ok(error instanceof PlexusError && error.code === 'MALFORMED', `${error}`)
    return undefined
  }
}

/** Plain objects, as a decoder makes them. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { noNullPrototype: true })
const port = fc.integer({ min: 0, max: 0xffff })
const endpoint = record({
  address: fc.oneof(fc.ipV4(), fc.ipV6()).map(canonicalAddress),
  port,
})
const text = fc.string({ maxLength: 100, unit: 'grapheme' })
const attribute: fc.Arbitrary<Attribute> = fc.oneof(
  ...(
    [
      'MAPPED-ADDRESS',
      'SOURCE-ADDRESS',
      'CHANGED-ADDRESS',
      'XOR-MAPPED-ADDRESS',
      'ALTERNATE-SERVER',
      'RESPONSE-ORIGIN',
      'OTHER-ADDRESS',
    ] as const
  ).map((name) => endpoint.map((endpoint) => ({ name, endpoint }))),
  ...(['USERNAME', 'REALM', 'NONCE', 'SOFTWARE'] as const).map((name) =>
    text.filter((text) => Buffer.byteLength(text) <= 512).map((text) => ({ name, text })),
  ),
  record({
    name: fc.constant('ERROR-CODE' as const),
    code: fc.integer({ min: 300, max: 699 }),
    reason: text.filter((text) => Buffer.byteLength(text) <= 763),
  }),
  record({ name: fc.constant('UNKNOWN-ATTRIBUTES' as const), types: fc.array(port, { maxLength: 9 }) }),
  record({ name: fc.constant('CHANGE-REQUEST' as const), address: fc.boolean(), port: fc.boolean() }),
  record({ name: fc.constant('RESPONSE-PORT' as const), port }),
  record({ name: fc.constant('PADDING' as const), length: fc.integer({ min: 0, max: 1500 }) }),
  record({
    name: fc.constant('UNKNOWN' as const),
    type: fc.constantFrom(0x0024, 0x0100, 0x7fff, 0x8020, 0xc057, 0xffff),
    value: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
  }),
)
const content: fc.Arbitrary<MessageContent> = record({
  class: fc.constantFrom('request', 'indication', 'success', 'error'),
  method: fc.integer({ min: 0, max: 0xfff }),
  transaction: fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
  attributes: fc.array(attribute, { maxLength: 8 }),
  integrityKey: fc.constantFrom(undefined, key),
  integritySha256: fc.constantFrom(undefined, { key }, { key, length: 20 }),
  fingerprint: fc.boolean(),
})

test('what is encoded is decoded to the same, with its seals', () => {
  fc.assert(
    fc.property(content, (content) => {
      const message = decode(encode(content))
      assert.equal(message.class, content.class)
      assert.equal(message.method, content.method)
      assert.deepEqual(message.transaction, content.transaction)
      assert.deepEqual(message.attributes, content.attributes)
      assert.equal(verifyIntegrity(message, key), content.integrityKey !== undefined)
      assert.equal(verifyIntegritySha256(message, key, 16), content.integritySha256 !== undefined)
      assert.equal(verifyFingerprint(message), content.fingerprint)
    }),
    { numRuns: 2000, seed: 8489 },
  )
})

test('no bytes make the decoder fail otherwise than with MALFORMED', () => {
  const body = fc.uint8Array({ maxLength: 200 }).map((bytes) => {
    // a right header, so that the attributes are reached
    const raw = Buffer.concat([vectors.SAMPLE_REQUEST.subarray(0, 20), bytes.subarray(0, bytes.length & ~3)])
    raw.writeUInt16BE(raw.length - 20, 2)
    return raw
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 2000 }), body), (data) => void read(data)),
    { numRuns: 20_000, seed: 5769 },
  )
})

/** One of the samples with up to eight changes of every kind that a network or an enemy may make. */
function mutate(next: () => number): Buffer {
  const pick = (limit: number) => Math.floor(next() * limit)
  let data = Buffer.from(samples[pick(samples.length)] ?? [])
  for (let changes = 1 + pick(8); changes > 0; changes--) {
    const at = pick(data.length)
    switch (pick(7)) {
      case 0:
        if (data.length > 0) data.writeUInt8(data.readUInt8(at) ^ (1 << pick(8)), at)
        break
      case 1:
        if (data.length > 0) data.writeUInt8(pick(256), at)
        break
      case 2:
        data = data.subarray(0, at)
        break
      case 3:
        data = Buffer.concat([data.subarray(0, at), Buffer.alloc(pick(9), pick(256)), data.subarray(at)])
        break
      case 4:
        data = Buffer.concat([data.subarray(0, at), data.subarray(Math.min(data.length, at + pick(9)))])
        break
      case 5:
        // a type or a length on its boundary: most of the danger is there
        if (at + 2 <= data.length)
          data.writeUInt16BE([0, 1, 3, 4, 5, 20, 0x7fff, 0xffff][pick(8)] ?? 0, at & ~1)
        break
      default:
        if (data.length >= 20) data.writeUInt16BE((data.length - 20) & 0xffff, 2)
    }
  }
  return data
}

test('100,000 mutated samples: read or MALFORMED, and no transaction takes a senseless address from one', () => {
  const next = numbers(3489)
  const server = { address: '192.0.2.3', port: 3478 }
  // with the id of the samples, so that those that are still whole reach it
  const id = () => vectors.SAMPLE_REQUEST.subarray(8, 20)
  let readable = 0
  let answered = 0
  for (let count = 0; count < 100_000; count++) {
    const data = mutate(next)
    if (read(data)) readable++
    const transaction = new Transaction(server, id, count)
    transaction.receive(count, data, server)
    const { state } = transaction
    if (state.name !== 'answered') continue
    answered++
    assert.notEqual(state.endpoint.port, 0)
    assert.notEqual(scopeOf(state.endpoint.address), 'unusable')
    assert.ok(!state.message.seals.fingerprint || verifyFingerprint(state.message))
  }
  assert.ok(readable > 1000 && answered > 10, `only ${readable} were read, ${answered} taken as an answer`)
})
