import assert from 'node:assert/strict'
import { createHash, createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { commitment, placeOf, slotKey } from '../../rendezvous/dht/place.js'
import type { Mailbox } from '../../rendezvous/interface.js'
import { mailboxName } from '../../rendezvous/mailbox.js'
import { formatIdentity } from '../../src/identity/index.js'
import { CAN_KEM, decodeMessage, encodeMessage, type Message } from '../../src/pairing/message.js'
import { ProbeCipher } from '../../src/punch/cipher.js'
import { decodeProbe, encodeProbe } from '../../src/punch/probe.js'
import { decodeTransportAddress } from '../../src/punch/transport-address.js'
import { deriveKeys, mlKem768, type SessionKeys } from '../../src/sealing/index.js'

const TEXT = readFileSync(fileURLToPath(new URL('../../../docs/protocol.md', import.meta.url)), 'utf8')

/** The text of the vector of this name. */
function vector(name: string): string {
  const found = new RegExp(`^\`\`\`(?:json|text) ${name}\\n([\\s\\S]*?)\\n\`\`\`$`, 'm').exec(TEXT)?.[1]
  assert.ok(found, `docs/protocol.md has no vector '${name}'`)
  return found
}

function fields(name: string): Record<string, string> {
  return JSON.parse(vector(name)) as Record<string, string>
}

/** `length` bytes that count up from `first`. */
function counting(first: number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => first + index))
}

/** An X25519 private key of 32 bytes (RFC 8410 section 7). */
function privateKey(bytes: Buffer): KeyObject {
  const head = Buffer.from('302e020100300506032b656e04220420', 'hex')
  return createPrivateKey({ key: Buffer.concat([head, bytes]), format: 'der', type: 'pkcs8' })
}

function offered(message: Message) {
  assert.ok(message.kind === 'invite' || message.kind === 'answer')
  return message.offer
}

const INVITE = Buffer.from(vector('invite'))
const ANSWER = Buffer.from(vector('answer'))

function keysOfSession() {
  const { key } = offered(decodeMessage(ANSWER))
  return deriveKeys(privateKey(counting(1, 32)), key, INVITE, ANSWER)
}

/** Keys as the document writes them. */
function written({ punch, secret, key }: SessionKeys): Record<string, string> {
  return {
    punchInviter: punch.inviter.toString('hex'),
    punchAccepter: punch.accepter.toString('hex'),
    secret: secret.toString(),
    key: key.toString('hex'),
  }
}

/** A message of the document with a part of ML-KEM-768 in its offer. */
function withKem(content: Buffer, kem: Buffer): Buffer {
  const message = decodeMessage(content)
  const offer = offered(message)
  return encodeMessage({ ...message, offer: { ...offer, kem, can: [...offer.can, CAN_KEM] } } as Message)
}

describe('the test vectors of docs/protocol.md', () => {
  test('invite: is read, and written the same', () => {
    const message = decodeMessage(INVITE)
    assert.ok(message.kind === 'invite')
    assert.equal(formatIdentity(message.from), 'alice@example.com/laptop')
    assert.equal(formatIdentity(message.to), 'bob@example.com/server')
    assert.equal(message.session, counting(0xa0, 16).toString('hex'))
    assert.equal(message.expires - message.time, 15 * 60_000)
    assert.deepEqual(message.reply, counting(0x40, 32))
    assert.deepEqual(message.offer.candidates, [
      { kind: 'host', endpoint: { address: '192.168.1.2', port: 50_000 } },
      { kind: 'reflexive', endpoint: { address: '203.0.113.7', port: 50_000 } },
      { kind: 'reflexive', endpoint: { address: '2001:db8::7', port: 50_000 } },
    ])
    assert.equal(encodeMessage(message).toString(), INVITE.toString())
  })

  test('answer: is read, and written the same', () => {
    const message = decodeMessage(ANSWER)
    assert.equal(message.kind, 'answer')
    assert.equal(encodeMessage(message).toString(), ANSWER.toString())
  })

  test('keys: both sides derive them from the two messages', () => {
    const { key } = offered(decodeMessage(INVITE))
    for (const keys of [keysOfSession(), deriveKeys(privateKey(counting(33, 32)), key, INVITE, ANSWER)]) {
      assert.deepEqual(written(keys), fields('keys'))
    }
  })

  test('hybrid: both sides derive the keys from X25519 and ML-KEM-768', async () => {
    const pair = await mlKem768.pair(counting(0, 64))
    const { ciphertext, secret } = await mlKem768.encapsulate(pair.publicKey, counting(64, 32))
    const invite = withKem(INVITE, pair.publicKey)
    const answer = withKem(ANSWER, ciphertext)
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
    const { key: inviterKey } = offered(decodeMessage(INVITE))
    const { key: accepterKey } = offered(decodeMessage(ANSWER))
    const keys = [
      deriveKeys(privateKey(counting(1, 32)), accepterKey, invite, answer, pair.decapsulate(ciphertext)),
      deriveKeys(privateKey(counting(33, 32)), inviterKey, invite, answer, secret),
    ]
    for (const each of keys) {
      const found = {
        encapsulationKeySha256: digest(pair.publicKey),
        ciphertextSha256: digest(ciphertext),
        sharedSecret: secret.toString('hex'),
        inviteSha256: digest(invite),
        answerSha256: digest(answer),
        ...written(each),
      }
      assert.deepEqual(found, fields('hybrid'))
    }
  })

  test('datagram: opens as the NOMINATE that it is, and is sealed to the same bytes', () => {
    const { punch } = keysOfSession()
    const { probe: plain = '', datagram = '' } = fields('datagram')
    const accepter = new ProbeCipher(punch.accepter, punch.inviter, () => counting(0, 12))
    const opened = accepter.open(Buffer.from(datagram, 'hex'))
    assert.equal(opened?.toString('hex'), plain)
    const probe = decodeProbe(Buffer.from(plain, 'hex'))
    assert.ok(probe)
    assert.equal(probe.type, 'nominate')
    assert.deepEqual(
      [probe.nomination, probe.remaining, probe.counter, probe.echoCounter],
      [1, 2000, 7, 0xffffffff],
    )
    assert.deepEqual(decodeTransportAddress(probe.observed), { address: '198.51.100.9', port: 40_000 })
    assert.deepEqual(decodeTransportAddress(probe.path), { address: '203.0.113.7', port: 50_000 })
    const inviter = new ProbeCipher(punch.inviter, punch.accepter, () => counting(0xc0, 12))
    assert.equal(inviter.seal(encodeProbe(probe)).toString('hex'), datagram)
  })

  test('mailboxes: names and places in the DHT', () => {
    const found = fields('mailboxes')
    const { app = '', accepter = '', inviter = '' } = found
    const identity: Extract<Mailbox, { kind: 'identity' }> = {
      kind: 'identity',
      app,
      identity: accepter,
      certificate: counting(0, 32),
    }
    const session: Extract<Mailbox, { kind: 'session' }> = {
      kind: 'session',
      app,
      identity: inviter,
      seed: counting(0x40, 32),
    }
    const day = Number(found.day)
    const { topic, pointer } = placeOf(identity, day)
    assert.deepEqual(found, {
      app,
      accepter,
      inviter,
      day,
      identityMailbox: mailboxName(identity),
      sessionMailbox: mailboxName(session),
      topic: topic.toString('hex'),
      pointer: pointer.publicKey.toString('hex'),
      slot0: slotKey(session, 0).publicKey.toString('hex'),
      slot1: slotKey(session, 1).publicKey.toString('hex'),
      commitment: commitment(identity, counting(0x80, 32)).toString('hex'),
    })
  })
})
