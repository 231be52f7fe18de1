import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { deriveKeys, ephemeral, KEM_CIPHERTEXT, KEM_KEY, mlKem768 } from '../../src/sealing/index.js'

/** The modulus of ML-KEM, and how many numbers of 12 bits an encapsulation key has (FIPS 203, section 8). */
const MODULUS = 3329
const NUMBERS = 3 * 256

/** A key with another number at an index, as ByteEncode12 writes it. */
function withNumber(key: Buffer, index: number, value: number): Buffer {
  const changed = Buffer.from(key)
  const at = Math.floor(index / 2) * 3
  const pair = changed.readUIntLE(at, 3)
  const mixed = index % 2 === 0 ? (pair & 0xfff000) | value : (pair & 0x000fff) | (value << 12)
  changed.writeUIntLE(mixed, at, 3)
  return changed
}

const malformed = (what: RegExp) => (error: unknown) =>
  error instanceof PlexusError && error.code === 'MALFORMED' && what.test(error.message)

test('keys, ciphertexts and secrets are those of FIPS 203, also for ciphertexts at random', async () => {
  // The accumulated vectors of C2SP's CCTV for ML-KEM-768, the first 100 of them, as crypto/mlkem of Go has them
  const rounds = 100
  const random = createHash('shake128', { outputLength: rounds * (64 + 32 + KEM_CIPHERTEXT) }).digest()
  let at = 0
  const next = (length: number) => {
    at += length
    return random.subarray(at - length, at)
  }
  const found = createHash('shake128', { outputLength: 32 })
  for (let round = 0; round < rounds; round++) {
    const [seed, message, strange] = [next(64), next(32), next(KEM_CIPHERTEXT)]
    const pair = await mlKem768.pair(seed)
    const { ciphertext, secret } = await mlKem768.encapsulate(pair.publicKey, message)
    assert.deepEqual(pair.decapsulate(ciphertext), secret)
    for (const part of [pair.publicKey, ciphertext, secret, pair.decapsulate(strange)]) found.update(part)
  }
  assert.equal(found.digest('hex'), '1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415')
})

test('an encapsulation key with a number that is not below the modulus is refused, wherever it stands', async () => {
  const { publicKey } = await mlKem768.pair()
  for (const index of [0, 1, 255, 256, 511, NUMBERS - 2, NUMBERS - 1]) {
    await mlKem768.encapsulate(withNumber(publicKey, index, MODULUS - 1))
    for (const value of [MODULUS, MODULUS + 1, 0xfff]) {
      const changed = withNumber(publicKey, index, value)
      await assert.rejects(
        mlKem768.encapsulate(changed),
        malformed(/key of the peer is not a valid/),
        `${index}`,
      )
    }
  }
  await assert.rejects(mlKem768.encapsulate(Buffer.alloc(KEM_KEY, 0xff)), malformed(/key of the peer/))
})

test('a key or a ciphertext of another length is refused', async () => {
  const pair = await mlKem768.pair()
  for (const length of [0, 32, KEM_KEY - 1, KEM_KEY + 1, 800, 1568]) {
    await assert.rejects(mlKem768.encapsulate(Buffer.alloc(length)), malformed(/key of the peer/))
  }
  for (const length of [0, 32, KEM_CIPHERTEXT - 1, KEM_CIPHERTEXT + 1, 768, 1568]) {
    assert.throws(() => pair.decapsulate(Buffer.alloc(length)), malformed(/ciphertext of the peer/))
  }
})

test('an altered ciphertext gives another secret, always the same one, and no error', async () => {
  const pair = await mlKem768.pair()
  const { ciphertext, secret } = await mlKem768.encapsulate(pair.publicKey)
  for (const at of [0, 500, KEM_CIPHERTEXT - 1]) {
    const altered = Buffer.from(ciphertext)
    altered[at] = (altered[at] ?? 0) ^ 1
    const other = pair.decapsulate(altered)
    assert.equal(other.length, 32)
    assert.notDeepEqual(other, secret)
    assert.deepEqual(pair.decapsulate(altered), other)
  }
  assert.deepEqual(pair.decapsulate(ciphertext), secret)
})

test('what was wiped opens nothing', async () => {
  const pair = await mlKem768.pair()
  const { ciphertext } = await mlKem768.encapsulate(pair.publicKey)
  pair.wipe()
  assert.throws(() => pair.decapsulate(ciphertext))
})

test('keys of a session need both secrets, and every octet that either side said', async () => {
  const [one, two] = [ephemeral(), ephemeral()]
  const [invite, answer] = [Buffer.from('an invite'), Buffer.from('an answer')]
  const secret = Buffer.alloc(32, 7)
  const keys = (said: Buffer, encapsulated?: Buffer) =>
    deriveKeys(one.privateKey, two.publicKey, said, answer, encapsulated)
  const hybrid = keys(invite, secret)
  assert.equal(hybrid.agreement, 'hybrid')
  assert.equal(keys(invite).agreement, 'x25519')
  assert.deepEqual(deriveKeys(two.privateKey, one.publicKey, invite, answer, secret).key, hybrid.key)
  const others = [keys(invite), keys(invite, Buffer.alloc(32, 8)), keys(Buffer.from('stripped'), secret)]
  const elsewhere = deriveKeys(ephemeral().privateKey, two.publicKey, invite, answer, secret)
  const all = [hybrid, elsewhere, ...others].map(({ key }) => key.toString('hex'))
  assert.equal(new Set(all).size, all.length)
})
