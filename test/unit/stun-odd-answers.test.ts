import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Question, said } from '../../src/nat/question.js'
import { parseEndpoint } from '../../src/net/index.js'
import {
  type Attribute,
  describeFailure,
  encode,
  INITIAL_RTO,
  type MessageContent,
  Transaction,
} from '../../src/stun/index.js'
import { seeded } from '../fixtures/stun/random.js'

const SERVER = parseEndpoint('192.88.1.1:3478')
const SEEN = parseEndpoint('192.88.2.2:4000')
const MAPPED: Attribute = { name: 'XOR-MAPPED-ADDRESS', endpoint: SEEN }

const raw = (type: number, value: string | Buffer): Attribute => ({
  name: 'UNKNOWN',
  type,
  value: typeof value === 'string' ? Buffer.from(value, 'hex') : value,
})

/** A message with bytes put behind its last attribute as they are, and a length that counts them. */
function withTail(message: Buffer, tail: Buffer): Buffer {
  const whole = Buffer.concat([message, tail])
  whole.writeUInt16BE(whole.length - 20, 2)
  return whole
}

/** SOFTWARE without the padding that its length asks for. */
const unpadded = (text: string) => {
  const head = Buffer.from([0x80, 0x22, 0, text.length])
  return Buffer.concat([head, Buffer.from(text)])
}

type Make = (transaction: Buffer) => Buffer
const answer =
  (attributes: readonly Attribute[], more: Partial<MessageContent> = {}): Make =>
  (transaction) =>
    encode({ class: 'success', transaction, attributes, ...more })

const ODD: Readonly<Record<string, Make>> = {
  'an all-zero OTHER-ADDRESS': answer([MAPPED, raw(0x802c, '0000000000000000')]),
  'an OTHER-ADDRESS of no family before the address': answer([raw(0x802c, '0007000000000000'), MAPPED]),
  'an OTHER-ADDRESS of two bytes': answer([MAPPED, raw(0x802c, '0001')]),
  'an empty RESPONSE-ORIGIN': answer([raw(0x802b, ''), MAPPED]),
  'an odd CHANGED-ADDRESS of RFC 3489': answer([MAPPED, raw(0x0005, '0000000000000000')]),
  'an odd MAPPED-ADDRESS beside the good one': answer([raw(0x0001, '00'), MAPPED]),
  'REFLECTED-FROM of RFC 3489': answer([raw(0x000b, '0001c0580101'), MAPPED]),
  'a SOFTWARE that is too long': answer([MAPPED, raw(0x8022, Buffer.alloc(1000, 0x61))]),
  'a SOFTWARE without padding at the end': (id) => withTail(answer([MAPPED])(id), unpadded('abcde')),
  'a SOFTWARE without padding before the address': (id) => {
    const [head, rest] = [answer([])(id), answer([MAPPED])(id).subarray(20)]
    return withTail(head, Buffer.concat([unpadded('abcde'), rest]))
  },
  'an attribute that goes beyond the end': (id) =>
    withTail(answer([MAPPED])(id), Buffer.from('8022ffff6162', 'hex')),
  'half a header at the end': (id) => withTail(answer([MAPPED])(id), Buffer.from('8022', 'hex')),
  'bytes behind the message': (id) => Buffer.concat([answer([MAPPED])(id), Buffer.alloc(7, 0xff)]),
  'bytes behind a message with a FINGERPRINT': (id) =>
    Buffer.concat([answer([MAPPED], { fingerprint: true })(id), Buffer.alloc(4)]),
  'a MESSAGE-INTEGRITY of three bytes': answer([MAPPED, raw(0x0008, '010203')]),
  'a FINGERPRINT of eight bytes': answer([MAPPED, raw(0x8028, '0102030405060708')]),
}

const UNREADABLE: Readonly<Record<string, readonly [Make, RegExp]>> = {
  'no address at all': [answer([]), /its answer names no address|an answer without an address/],
  'an odd address alone': [answer([raw(0x0020, '0001')]), /names no address|without an address/],
  'the address 0.0.0.0': [
    answer([{ name: 'XOR-MAPPED-ADDRESS', endpoint: parseEndpoint('0.0.0.0:1') }]),
    /0\.0\.0\.0|without an address/,
  ],
  'a message that is cut off': [
    (id) => answer([MAPPED])(id).subarray(0, -4),
    /cannot be read: it is cut off/,
  ],
  'a wrong FINGERPRINT': [
    answer([MAPPED, raw(0x8028, '01020304')]),
    /cannot be read: its FINGERPRINT is wrong/,
  ],
  'an unknown attribute that has to be known': [answer([raw(0x0123, '00'), MAPPED]), /0x0?123/],
  'an error without a code': [
    (transaction) => encode({ class: 'error', transaction, attributes: [] }),
    /cannot be read: it is an error without a code|error without a number/,
  ],
}

/** The transaction id in a request. */
const idOf = (request: Buffer | Uint8Array | undefined) => Buffer.from(request ?? []).subarray(8, 20)

for (const [what, make] of Object.entries(ODD)) {
  test(`an answer with ${what} counts all the same`, () => {
    const transaction = new Transaction(SERVER, seeded(3), 0)
    const data = make(idOf(transaction.transmits()[0]?.data))
    assert.ok(transaction.receive(5, data, SERVER))
    const { state } = transaction
    assert.equal(state.name, 'answered')
    assert.deepEqual(state.name === 'answered' && state.endpoint, SEEN)

    const question = new Question(0, SERVER, { now: 0, random: seeded(4) })
    question.receive(5, make(idOf(question.tick(0))), SERVER)
    assert.equal(question.answer.is, 'answered')
    assert.deepEqual(question.answer.is === 'answered' && question.answer.mapped, SEEN)
  })
}

for (const [what, [make, told]] of Object.entries(UNREADABLE)) {
  test(`an answer with ${what} is told as that, and not as silence`, () => {
    const transaction = new Transaction(SERVER, seeded(3), 0)
    transaction.receive(5, make(idOf(transaction.transmits()[0]?.data)), SERVER)
    transaction.giveUp()
    const { state } = transaction
    assert.equal(state.name, 'failed')
    assert.match(state.name === 'failed' ? describeFailure(state.failure) : '', told)

    const question = new Question(0, SERVER, { now: 0, random: seeded(4) })
    question.receive(5, make(idOf(question.tick(0))), SERVER)
    question.giveUp()
    assert.match(said(question.answer), told)
  })
}

test('an answer that could not be read makes way for the next one that can', () => {
  const transaction = new Transaction(SERVER, seeded(3), 0)
  const id = idOf(transaction.transmits()[0]?.data)
  transaction.receive(5, answer([MAPPED])(id).subarray(0, -4), SERVER)
  transaction.tick(INITIAL_RTO)
  assert.equal(transaction.transmits().length, 1)
  assert.ok(transaction.receive(INITIAL_RTO + 5, answer([MAPPED])(id), SERVER))
  assert.equal(transaction.state.name, 'answered')
})
