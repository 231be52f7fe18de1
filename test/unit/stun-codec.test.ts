import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import {
  decode,
  encode,
  find,
  isStun,
  longTermKey,
  type Message,
  mappedEndpoint,
  shortTermKey,
  verifyFingerprint,
  verifyIntegrity,
  verifyIntegritySha256,
} from '../../src/stun/index.js'
import * as vectors from '../fixtures/stun/vectors.js'

const transaction = Buffer.from('b7e7a701bc34d686fa87dfae', 'hex')
const password = shortTermKey(vectors.SHORT_TERM_PASSWORD)
const { username, realm, password: longTermPassword } = vectors.LONG_TERM

/** A Binding request with these attributes, given as they stand on the wire. */
function request(hex: string): Buffer {
  const attributes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  const header = Buffer.from('000100002112a442b7e7a701bc34d686fa87dfae', 'hex')
  header.writeUInt16BE(attributes.length, 2)
  return Buffer.concat([header, attributes])
}

function assertMalformed(data: Buffer, why: RegExp) {
  assert.throws(
    () => decode(data),
    (error) => error instanceof PlexusError && error.code === 'MALFORMED' && why.test(error.message),
    `${data.toString('hex')} should be refused with ${why}`,
  )
}

test('RFC 5769 2.1: the sample request is read, and its seals are right', () => {
  const message = decode(vectors.SAMPLE_REQUEST)
  assert.equal(message.class, 'request')
  assert.equal(message.method, 1)
  assert.deepEqual(message.transaction, transaction)
  assert.equal(find(message, 'SOFTWARE')?.text, 'STUN test client')
  assert.equal(find(message, 'USERNAME')?.text, 'evtj:h6vY')
  assert.deepEqual(message.unknownRequired, [0x0024], 'PRIORITY belongs to ICE')
  assert.ok(verifyIntegrity(message, password))
  assert.ok(!verifyIntegrity(message, shortTermKey('another')))
  assert.ok(verifyFingerprint(message))
})

test('RFC 5769 2.2 and 2.3: the sample responses are read, and their seals are right', () => {
  const expected = [
    [vectors.SAMPLE_IPV4_RESPONSE, '192.0.2.1'],
    [vectors.SAMPLE_IPV6_RESPONSE, '2001:db8:1234:5678:11:2233:4455:6677'],
  ] as const
  for (const [raw, address] of expected) {
    const message = decode(raw)
    assert.equal(message.class, 'success')
    assert.deepEqual(mappedEndpoint(message), { address, port: 32853 })
    assert.equal(find(message, 'SOFTWARE')?.text, 'test vector')
    assert.deepEqual(message.unknownRequired, [])
    assert.ok(verifyIntegrity(message, password))
    assert.ok(verifyFingerprint(message))
  }
})

test('RFC 5769 2.4: the request with long-term authentication is read, and made again byte by byte', () => {
  const message = decode(vectors.SAMPLE_LONG_TERM_REQUEST)
  const key = longTermKey(username, realm, longTermPassword)
  assert.equal(find(message, 'USERNAME')?.text, username)
  assert.equal(find(message, 'NONCE')?.text, 'f//499k954d6OL34oL9FSTvy64sA')
  assert.equal(find(message, 'REALM')?.text, realm)
  assert.ok(verifyIntegrity(message, key))
  assert.ok(!verifyFingerprint(message), 'it has none')
  const { attributes } = message
  assert.deepEqual(
    encode({ class: 'request', transaction: message.transaction, attributes, integrityKey: key }),
    vectors.SAMPLE_LONG_TERM_REQUEST,
  )
})

test('RFC 8489 B.1: MESSAGE-INTEGRITY-SHA256 is right, and made again byte by byte', () => {
  const message = decode(vectors.SAMPLE_SHA256_REQUEST)
  const key = longTermKey(username, realm, longTermPassword, 'sha256')
  assert.ok(verifyIntegritySha256(message, key))
  assert.ok(!verifyIntegritySha256(message, password))
  assert.ok(!verifyIntegrity(message, key), 'it has no MESSAGE-INTEGRITY')
  const { attributes } = message
  assert.deepEqual(
    encode({ class: 'request', transaction: message.transaction, attributes, integritySha256: { key } }),
    vectors.SAMPLE_SHA256_REQUEST,
  )
})

test('what we encode of a sample is what the sample says', () => {
  for (const raw of [vectors.SAMPLE_REQUEST, vectors.SAMPLE_IPV4_RESPONSE, vectors.SAMPLE_IPV6_RESPONSE]) {
    const message = decode(raw)
    const again = decode(encode({ ...message, integrityKey: password, fingerprint: true }))
    assert.deepEqual(again.attributes, message.attributes)
    assert.equal(again.raw.length, raw.length)
    assert.ok(verifyIntegrity(again, password) && verifyFingerprint(again))
  }
})

test('any changed bit breaks the seals', () => {
  for (let bit = 0; bit < vectors.SAMPLE_IPV4_RESPONSE.length * 8; bit++) {
    const raw = Buffer.from(vectors.SAMPLE_IPV4_RESPONSE)
    raw.writeUInt8(raw.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    let message: Message
    try {
      message = decode(raw)
    } catch {
      continue
    }
    assert.ok(!verifyFingerprint(message), `bit ${bit}`)
    if (bit >> 3 < 72) assert.ok(!verifyIntegrity(message, password), `bit ${bit}`)
  }
})

test('a truncated MESSAGE-INTEGRITY-SHA256 counts only where it is allowed', () => {
  const key = shortTermKey('secret')
  for (const length of [16, 20, 24, 28, 32]) {
    const message = decode(
      encode({ class: 'request', transaction, integritySha256: { key, length }, fingerprint: true }),
    )
    assert.equal(message.seals.integritySha256?.value.length, length)
    assert.ok(verifyIntegritySha256(message, key, 16))
    assert.equal(verifyIntegritySha256(message, key), length === 32)
    assert.ok(verifyFingerprint(message))
  }
  assertMalformed(request(`001c000c ${'00'.repeat(12)}`), /MESSAGE-INTEGRITY-SHA256 has 12/)
  assertMalformed(request(`001c0012 ${'00'.repeat(20)}`), /MESSAGE-INTEGRITY-SHA256 has 18/)
  assertMalformed(request(`001c0024 ${'00'.repeat(36)}`), /MESSAGE-INTEGRITY-SHA256 has 36/)
})

test('both kinds of integrity stand in one message, each over what precedes it', () => {
  const key = shortTermKey('secret')
  const message = decode(
    encode({
      class: 'success',
      transaction,
      attributes: [{ name: 'XOR-MAPPED-ADDRESS', endpoint: { address: '192.0.2.9', port: 9 } }],
      integrityKey: key,
      integritySha256: { key },
      fingerprint: true,
    }),
  )
  assert.ok(
    verifyIntegrity(message, key) && verifyIntegritySha256(message, key) && verifyFingerprint(message),
  )
})

test('what follows MESSAGE-INTEGRITY counts for nothing, but for its SHA256 form and FINGERPRINT', () => {
  const sealed = encode({ class: 'request', transaction, integrityKey: password }).subarray(20)
  const forged = '00060004 65766f6c 00240004 00000000 00200004 00000000'
  const message = decode(request(`${sealed.toString('hex')} ${forged} 80280004 00000000`))
  assert.deepEqual(message.attributes, [])
  assert.deepEqual(message.unknownRequired, [], 'what is ignored is not reported either')
  assert.ok(message.seals.fingerprint)
  assert.ok(verifyIntegrity(message, password), 'it vouches for what stands before it')
  const twice = decode(request(`001c0010 ${'00'.repeat(16)} 00080014 ${'00'.repeat(20)} 00060004 65766f6c`))
  assert.equal(twice.seals.integrity, undefined, 'after the SHA256 form even MESSAGE-INTEGRITY is ignored')
  assert.deepEqual(twice.attributes, [])
})

test('lengths and padding are exact', () => {
  assertMalformed(Buffer.alloc(0), /0 bytes/)
  assertMalformed(Buffer.from([0, 1, 2]), /3 bytes/)
  assertMalformed(request('').subarray(0, 19), /19 bytes/)
  assertMalformed(Buffer.concat([request(''), Buffer.alloc(4)]), /not the 4 that follow/)
  assertMalformed(request('8022'), /multiple of 4/)
  assertMalformed(request('80220005 61626364'), /beyond its end/)
  assertMalformed(request('8022ffff 61626364'), /beyond its end/)
  assertMalformed(Buffer.from(`c0${request('').toString('hex').slice(2)}`, 'hex'), /first two bits/)
  assertMalformed(Buffer.from(request('').toString('hex').replace('2112a442', '2112a443'), 'hex'), /cookie/)
  assert.deepEqual(decode(request('80220001 61ffffff')).attributes, [{ name: 'SOFTWARE', text: 'a' }])
  assert.deepEqual(decode(request('80220000')).attributes, [{ name: 'SOFTWARE', text: '' }])
})

test('a value that is not what its type says is refused', () => {
  assertMalformed(request('00200008 0003a147 e112a643'), /no known address family/)
  assertMalformed(request('00200008 0002a147 e112a643'), /has 8 bytes/)
  assertMalformed(request('00010004 00010000'), /has 4 bytes/)
  assertMalformed(request('00200000'), /no known address family/)
  assertMalformed(request('000a0003 00240000'), /odd length/)
  assertMalformed(request('00030008 00000000 00000000'), /CHANGE-REQUEST has 8/)
  assertMalformed(request('00270000'), /RESPONSE-PORT has 0/)
  assertMalformed(request('00090003 00000400'), /ERROR-CODE has 3/)
  assertMalformed(request('00090004 00000214'), /ERROR-CODE is 2, 20/)
  assertMalformed(request('00090004 00000464'), /ERROR-CODE is 4, 100/)
  assertMalformed(request('00080010 '.concat('00'.repeat(16))), /MESSAGE-INTEGRITY has 16/)
  assertMalformed(request('80280008 '.concat('00'.repeat(8))), /FINGERPRINT has 8/)
  assertMalformed(request('80280004 00000000 80220000'), /follows FINGERPRINT/)
  assertMalformed(request(`00060204 ${'61'.repeat(516)}`), /USERNAME is too long/)
})

test('error 420 is 420, and names what was not understood', () => {
  const raw = Buffer.from(
    '0111001c2112a442b7e7a701bc34d686fa87dfae 00090009 00000414 4e6f204944 000000 000a0004 0024 7fff'.replaceAll(
      ' ',
      '',
    ),
    'hex',
  )
  raw.writeUInt16BE(raw.length - 20, 2)
  const message = decode(raw)
  assert.equal(message.class, 'error')
  const error = find(message, 'ERROR-CODE')
  assert.equal(error?.code, 420)
  assert.equal(error?.reason, 'No ID')
  assert.deepEqual(find(message, 'UNKNOWN-ATTRIBUTES')?.types, [0x0024, 0x7fff])
  for (const code of [300, 399, 400, 401, 420, 438, 500, 699]) {
    const attributes = [{ name: 'ERROR-CODE', code, reason: 'why' }] as const
    assert.equal(find(decode(encode({ class: 'error', transaction, attributes })), 'ERROR-CODE')?.code, code)
  }
})

test('all types of message are told apart', () => {
  for (const kind of ['request', 'indication', 'success', 'error'] as const) {
    for (const method of [0x001, 0x003, 0x00f, 0x010, 0x080, 0xfff]) {
      const raw = encode({ class: kind, method, transaction })
      const message = decode(raw)
      assert.ok(isStun(raw))
      assert.equal(message.class, kind)
      assert.equal(message.method, method)
    }
  }
  assert.equal(encode({ class: 'error', transaction }).readUInt16BE(0), 0x0111)
  assert.equal(encode({ class: 'success', transaction }).readUInt16BE(0), 0x0101)
})

test('an answer of RFC 3489 still gives its address', () => {
  const message = decode(
    request('00010008 00010035 c0000201 00040008 00010d96 c6336401 00050008 00010d97 c6336402'),
  )
  assert.deepEqual(message.unknownRequired, [], 'its SOURCE-ADDRESS and CHANGED-ADDRESS are known')
  assert.deepEqual(mappedEndpoint(message), { address: '192.0.2.1', port: 53 })
})

test('a datagram is told from STUN by its first two bits and the cookie', () => {
  assert.ok(isStun(vectors.SAMPLE_REQUEST))
  assert.ok(!isStun(vectors.SAMPLE_REQUEST.subarray(0, 19)))
  assert.ok(!isStun(Buffer.alloc(100)))
  assert.ok(!isStun(Buffer.from(`8${vectors.SAMPLE_REQUEST.toString('hex').slice(1)}`, 'hex')))
})
