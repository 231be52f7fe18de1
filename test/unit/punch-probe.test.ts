import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { DATAGRAM_LENGTH, looksLikeStun, ProbeCipher } from '../../src/punch/cipher.js'
import { decodeProbe, encodeProbe, PROBE_LENGTH, type Probe, type ProbeType } from '../../src/punch/probe.js'
import { decodeTransportAddress, encodeTransportAddress } from '../../src/punch/transport-address.js'

const TYPES: ProbeType[] = ['check', 'check-ack', 'nominate', 'confirm', 'done', 'done-ack', 'abort']

const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array))

const probes: fc.Arbitrary<Probe> = fc
  .record({
    type: fc.constantFrom(...TYPES),
    counter: fc.nat(0xffffffff),
    nomination: fc.nat(255),
    remaining: fc.nat(65535),
    challenge: bytes(8),
    echo: bytes(8),
    echoCounter: fc.nat(0xffffffff),
    observed: bytes(19),
    path: bytes(19),
    reason: fc.stringMatching(/^[A-Z][A-Z0-9_]{0,31}$/),
  })
  // a field that a type does not have is empty
  .map((probe) => {
    const none = Buffer.alloc(19)
    return {
      ...probe,
      observed: probe.type === 'abort' ? none : probe.observed,
      path: probe.type === 'nominate' ? probe.path : none,
      reason: probe.type === 'abort' ? probe.reason : '',
    }
  })

const own = randomBytes(32)
const peer = randomBytes(32)
const inviter = new ProbeCipher(own, peer, randomBytes)
const accepter = new ProbeCipher(peer, own, randomBytes)

test('a probe is read as it was written', () => {
  fc.assert(
    fc.property(probes, (probe) => {
      const read = decodeProbe(encodeProbe(probe))
      assert.ok(read)
      // the reason stands where the observed endpoint would
      assert.deepEqual(
        read.type === 'abort' ? { ...read, observed: probe.observed, path: probe.path } : read,
        probe,
      )
    }),
  )
})

test('whatever stands in authentic bytes, parsing gives a probe or nothing', () => {
  fc.assert(
    fc.property(bytes(PROBE_LENGTH), (data) => {
      const probe = decodeProbe(data)
      if (probe) assert.ok(TYPES.includes(probe.type))
    }),
  )
  assert.equal(decodeProbe(Buffer.alloc(PROBE_LENGTH)), undefined)
  assert.equal(decodeProbe(Buffer.alloc(PROBE_LENGTH - 1, 1)), undefined)
})

test('a reason that is no code is sent as OTHER', () => {
  const zero = {
    counter: 0,
    nomination: 0,
    remaining: 0,
    echoCounter: 0,
    observed: Buffer.alloc(19),
    path: Buffer.alloc(19),
  }
  for (const reason of ['', 'rm -rf', 'A\nB', 'X'.repeat(33), '\u{1f4a5}']) {
    const challenge = Buffer.alloc(8)
    const probe = encodeProbe({ ...zero, type: 'abort', challenge, echo: challenge, reason })
    assert.equal(decodeProbe(probe)?.reason, 'OTHER')
  }
})

test('endpoints of both families stand in a datagram and come out again', () => {
  for (const address of [
    '192.0.2.1',
    '2001:db8::1',
    '::1',
    'fd00:1:2:3:4:5:6:7',
    '2001:db8:0:1::',
    '64:ff9b::102:304',
  ]) {
    const endpoint = { address, port: 65535 }
    assert.deepEqual(decodeTransportAddress(encodeTransportAddress(endpoint)), endpoint)
  }
  assert.equal(decodeTransportAddress(Buffer.alloc(19)), undefined)
})

test('every datagram has one length, and no bit of it tells anything', () => {
  const ones = new Array<number>(DATAGRAM_LENGTH * 8).fill(0)
  const count = 2_000
  for (let n = 0; n < count; n++) {
    const fields = { counter: n, nomination: 1, remaining: 9, challenge: own.subarray(8), echoCounter: n }
    const type = TYPES[n % TYPES.length] as ProbeType
    const challenge = fields.challenge.subarray(0, 8)
    const datagram = inviter.seal(
      encodeProbe({
        ...fields,
        type,
        challenge,
        echo: challenge,
        observed: Buffer.alloc(19),
        path: Buffer.alloc(19),
        reason: 'X',
      }),
    )
    assert.equal(datagram.length, DATAGRAM_LENGTH)
    for (let bit = 0; bit < ones.length; bit++) {
      if ((datagram[bit >> 3] ?? 0) & (1 << (bit & 7))) ones[bit] = (ones[bit] ?? 0) + 1
    }
  }
  // 6 standard deviations of a fair coin: once in half a million runs for one of the 800 bits
  const limit = 6 * Math.sqrt(count / 4)
  for (const [bit, sum] of ones.entries()) assert.ok(Math.abs(sum - count / 2) < limit, `bit ${bit}: ${sum}`)
})

test('a datagram opens with the key of its direction, and not after any change', () => {
  const probe = Buffer.alloc(PROBE_LENGTH, 7)
  const datagram = inviter.seal(probe)
  assert.deepEqual(accepter.open(datagram), probe)
  assert.equal(inviter.open(datagram), undefined, 'thrown back at its sender')
  for (let bit = 0; bit < datagram.length * 8; bit++) {
    const changed = Buffer.from(datagram)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    assert.equal(accepter.open(changed), undefined)
  }
  for (const length of [0, 1, 12, DATAGRAM_LENGTH - 1]) {
    assert.equal(accepter.open(datagram.subarray(0, length)), undefined)
  }
})

test('no datagram is taken for STUN, even if chance would have it', () => {
  const stun = Buffer.from('000100002112a44200000000', 'hex')
  const draws = [stun, stun, randomBytes(12).fill(0xff, 0, 1)]
  const unlucky = new ProbeCipher(own, peer, () => draws.shift() ?? randomBytes(12))
  assert.equal(looksLikeStun(unlucky.seal(Buffer.alloc(PROBE_LENGTH))), false)
  assert.equal(draws.length, 0)
  assert.equal(looksLikeStun(Buffer.concat([stun, Buffer.alloc(DATAGRAM_LENGTH - 12)])), true)
  assert.equal(looksLikeStun(Buffer.from([0, 1, 2])), false)
})

test('keys that cannot serve are refused', () => {
  assert.throws(() => new ProbeCipher(own, own, randomBytes), RangeError)
  assert.throws(() => new ProbeCipher(own.subarray(1), peer, randomBytes), RangeError)
})
