import assert from 'node:assert/strict'
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { deriveKeys, ephemeral } from '../../src/sealing/index.js'

const invite = Buffer.from('the octets of the invite')
const answer = Buffer.from('the octets of the answer')

/** A private key of X25519 from its 32 bytes (RFC 8410, 7). */
function privateKey(raw: string): KeyObject {
  const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), Buffer.from(raw, 'hex')])
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
}

function publicBytes(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-32)
}

test('both sides derive the same keys, and all of them differ', () => {
  const one = ephemeral()
  const two = ephemeral()
  assert.equal(one.publicKey.length, 32)
  const inviter = deriveKeys(one.privateKey, two.publicKey, invite, answer)
  const accepter = deriveKeys(two.privateKey, one.publicKey, invite, answer)
  assert.deepEqual(inviter.punch, accepter.punch)
  assert.equal(inviter.secret, accepter.secret)
  assert.deepEqual(inviter.key, accepter.key)
  assert.deepEqual(inviter.expand('mailbox', 48), accepter.expand('mailbox', 48))
  const all = [inviter.punch.inviter, inviter.punch.accepter, inviter.key, inviter.expand('mailbox', 32)]
  assert.equal(new Set(all.map((key) => key.toString('hex'))).size, 4)
  for (const key of all) assert.equal(key.length, 32)
})

test('the derivation is the one that is written down', () => {
  // HKDF of RFC 5869, step by step
  const alice = privateKey('70'.repeat(32))
  const bob = ephemeral()
  const secret = diffieHellman({ privateKey: alice, publicKey: createPublicKey(bob.privateKey) })
  const lengths = [invite, answer].map((text) => Buffer.of(0, 0, 0, 0, 0, 0, 0, text.length))
  const transcript = Buffer.concat([lengths[0] ?? invite, invite, lengths[1] ?? answer, answer])
  const salt = createHash('sha256').update(transcript).digest()
  const encapsulated = Buffer.alloc(32, 0x33)
  for (const further of [undefined, encapsulated]) {
    const input = further ? Buffer.concat([secret, further]) : secret
    const pseudorandom = createHmac('sha256', salt).update(input).digest()
    const expand = (label: string) => createHmac('sha256', pseudorandom).update(`${label}\x01`).digest()
    const keys = deriveKeys(bob.privateKey, publicBytes(alice), invite, answer, further)
    assert.deepEqual(keys.punch.inviter, expand('plexus 4 punch inviter'))
    assert.deepEqual(keys.punch.accepter, expand('plexus 4 punch accepter'))
    assert.deepEqual(keys.key, expand('plexus 4 key'))
    assert.deepEqual(keys.expand('mailbox', 16), expand('plexus 4 mailbox').subarray(0, 16))
    const wide = BigInt(`0x${expand('plexus 4 secret').subarray(0, 16).toString('hex')}`)
    assert.equal(keys.secret, (wide % (2n ** 64n - 1n)) + 1n)
  }
})

test('another invite, another answer, or another boundary between them gives other keys', () => {
  const one = ephemeral()
  const two = ephemeral()
  const key = (a: string, b: string) =>
    deriveKeys(one.privateKey, two.publicKey, Buffer.from(a), Buffer.from(b)).key.toString('hex')
  const keys = [
    key('ab', 'c'),
    key('a', 'bc'),
    key('abc', ''),
    key('', 'abc'),
    key('c', 'ab'),
    key('ab', 'd'),
  ]
  assert.equal(new Set(keys).size, keys.length)
  assert.equal(key('ab', 'c'), keys[0])
})

test('a public key with which the peer would choose the secret alone is refused', () => {
  const own = ephemeral().privateKey
  // the points of small order, and their other representations (https://cr.yp.to/ecdh.html)
  const bad = [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    `ec${'ff'.repeat(30)}7f`,
    `ed${'ff'.repeat(30)}7f`,
    `ee${'ff'.repeat(30)}7f`,
  ]
  for (const point of [...bad, '', '00', '09'.repeat(31), '09'.repeat(33)]) {
    assert.throws(
      () => deriveKeys(own, Buffer.from(point, 'hex'), invite, answer),
      (error) => error instanceof PlexusError && error.code === 'MALFORMED' && error.cause === undefined,
      point,
    )
  }
})

test('the secret is never 0 and has 64 bits', () => {
  const one = ephemeral()
  let most = 0n
  for (let round = 0; round < 500; round++) {
    const { secret } = deriveKeys(one.privateKey, one.publicKey, Buffer.of(round & 0xff, round >> 8), answer)
    assert.ok(secret > 0n && secret < 2n ** 64n)
    if (secret > most) most = secret
  }
  assert.ok(most > 2n ** 62n)
})
