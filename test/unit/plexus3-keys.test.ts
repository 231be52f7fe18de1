import assert from 'node:assert/strict'
import { constants, createPublicKey, publicEncrypt, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createIdentity, der, type Host, Repository } from '../../src/identity/index.js'
import { openKey, transportKey } from '../../src/plexus3/key-transport.js'
import { systemClock, systemRandom } from '../../src/system/index.js'

const NAME = { owner: 'bob@example.com', pin: 'server' }
const LENGTH = 24

let scratch: string
let bob: Host

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus3-keys-'))
  await createIdentity(scratch, NAME, { key: 'rsa', random: systemRandom, date: systemClock.date() })
  bob = await (await Repository.open(scratch)).host(NAME)
})
after(() => rm(scratch, { recursive: true, force: true }))

/** What RSA makes of a block as it stands. */
function encrypted(block: Buffer): Buffer {
  return publicEncrypt({ key: createPublicKey(bob.privateKey), padding: constants.RSA_NO_PADDING }, block)
}

/** `00 02 <no zeros> 00 <key>`, as long as the modulus. */
function padded(key: Buffer): Buffer {
  const modulus = (bob.privateKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8
  const filling = Buffer.alloc(modulus - key.length - 3, 0x55)
  return Buffer.concat([Buffer.of(0, 2), filling, Buffer.of(0), key])
}

test('a key that was transported arrives', () => {
  const key = randomBytes(LENGTH)
  const recipient = der.Members.ofSequence(transportKey(key, bob.certificate), 'it')
  recipient.small()
  recipient.any()
  recipient.any()
  assert.deepEqual(openKey(recipient.octets(), bob, LENGTH), key)
  assert.deepEqual(openKey(encrypted(padded(key)), bob, LENGTH), key)
})

test('whatever is wrong with the padding, there is a key that nobody knows, and no error', () => {
  const key = randomBytes(LENGTH)
  const good = padded(key)
  const changed = (at: number, value: number) => {
    const block = Buffer.from(good)
    block[at] = value
    return block
  }
  const wrong = {
    'the first byte': changed(0, 1),
    'the block type': changed(1, 1),
    'a zero at once': changed(2, 0),
    'a zero in the filling': changed(100, 0),
    'a zero just before the separator': changed(good.length - LENGTH - 2, 0),
    'no separator': changed(good.length - LENGTH - 1, 1),
    'a shorter key': padded(randomBytes(LENGTH - 1)),
    'a longer key': padded(randomBytes(LENGTH + 8)),
    nothing: Buffer.concat([Buffer.of(0), randomBytes(good.length - 1)]),
  }
  for (const [what, block] of Object.entries(wrong)) {
    const [one, two] = [openKey(encrypted(block), bob, LENGTH), openKey(encrypted(block), bob, LENGTH)]
    assert.equal(one.length, LENGTH, what)
    assert.notDeepEqual(one, block.subarray(-LENGTH), what)
    assert.notDeepEqual(one, two, what)
  }
  for (const data of [Buffer.alloc(0), randomBytes(255), randomBytes(257)])
    assert.equal(openKey(data, bob, LENGTH).length, LENGTH)
})
