import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { createIdentity, type Host, Repository } from '../../src/identity/index.js'
import { envelop } from '../../src/plexus3/enveloped.js'
import {
  formatAddress,
  formatSubject,
  Handshake,
  openEntity,
  readAddress,
  readBody,
  readMail,
  readMessage,
  readSubject,
  sealEntity,
  writeBody,
  writeDatagram,
  writeMail,
  writeMessage,
} from '../../src/plexus3/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { numbers } from '../fixtures/stun/random.js'
import { mutated } from '../support/mutation.js'

const ALICE = { owner: 'alice@example.com', pin: 'laptop' }
const BOB = { owner: 'bob@example.com', pin: 'server' }
const APP = 'plexus'
const PEER = { address: '203.0.113.9', port: 4000 }
const LINE = writeMessage({ endpoint: PEER, puzzle: 12345678901234567890n })
const COUNT = 1500

let scratch: string
let alice: Host
let bob: Host

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus3-hostile-'))
  for (const name of [ALICE, BOB]) {
    await createIdentity(scratch, name, { key: 'rsa', random: systemRandom, date: systemClock.date() })
  }
  const repository = await Repository.open(scratch)
  alice = await repository.host(ALICE)
  bob = await repository.host(BOB)
})
after(() => rm(scratch, { recursive: true, force: true }))

/** What comes of an input: nothing, or the one thing that a typed error says. */
function outcome(run: () => unknown): string {
  try {
    run()
    return 'accepted'
  } catch (error) {
    if (!(error instanceof PlexusError) || error.code === 'INTERNAL') throw error
    return JSON.stringify([error.code, error.message, error.advice, error.cause])
  }
}

test('each failure to open a mutated mail is one and the same error, without a cause', async () => {
  const next = numbers(1)
  const sealed = Buffer.from(await sealEntity(LINE, alice, bob.certificate), 'latin1')
  const other = Buffer.from(await sealEntity(LINE, bob, alice.certificate), 'latin1')
  const seen = new Set<string>()
  for (let nth = 0; nth < COUNT; nth++) {
    const entity = mutated(sealed, other, next).toString('latin1')
    const text = outcome(() => assert.equal(openEntity(entity, bob, alice.certificate).text, LINE))
    seen.add(text)
  }
  // a header or the space around it may change without any harm
  seen.delete('accepted')
  assert.equal(seen.size, 1, [...seen].join('\n'))
})

test('so is each of the octets of the envelope, and of what is signed in one that opens', async () => {
  const next = numbers(2)
  const headers = 'Content-Type: application/x-pkcs7-mime\nContent-Transfer-Encoding: base64\n\n'
  const whole = await sealEntity(LINE, alice, bob.certificate)
  const octets = Buffer.from(whole.slice(whole.indexOf('\r\n\r\n')), 'base64')
  const inside = Buffer.from(
    'MIME-Version: 1.0\nContent-Type: multipart/signed; boundary="b"\n\n--b\nx\n--b\n',
  )
  const seen = new Set<string>()
  for (let nth = 0; nth < COUNT; nth++) {
    const data =
      nth % 2 === 0 ? mutated(octets, octets, next) : envelop(mutated(inside, octets, next), bob.certificate)
    const entity = headers + data.toString('base64')
    seen.add(outcome(() => assert.equal(openEntity(entity, bob, alice.certificate).text, LINE)))
  }
  // another algorithm's parameters, or a version, may be changed and mean the same
  seen.delete('accepted')
  assert.equal(seen.size, 1, [...seen].join('\n'))
})

test('what alice sealed for bob was signed by nobody else, and opens for nobody else', async () => {
  const entity = await sealEntity(LINE, alice, bob.certificate)
  assert.equal(openEntity(entity, bob, alice.certificate).text, LINE)
  const refusals = [
    outcome(() => openEntity(entity, alice, alice.certificate)),
    outcome(() => openEntity(entity, bob, bob.certificate)),
    outcome(() => openEntity('x'.repeat(70_000), bob, alice.certificate)),
  ]
  assert.equal(new Set(refusals).size, 1)
  assert.match(refusals[0] ?? '', /^\["UNSEALABLE"/)
})

test('the digest is the same for each mail with one message, and another for another', async () => {
  const digest = async (line: string) =>
    openEntity(await sealEntity(line, alice, bob.certificate), bob, alice.certificate).digest
  assert.deepEqual(await digest(LINE), await digest(LINE))
  assert.notDeepEqual(await digest(LINE), await digest(LINE.replace('4000', '4001')))
})

test('mutated mails are read, or called malformed', async () => {
  const next = numbers(3)
  const entity = await sealEntity(LINE, alice, bob.certificate)
  const mail = Buffer.from(writeMail({ from: ALICE, to: BOB, app: APP, kind: 'invite', entity }))
  const codes = new Set<string>()
  for (let nth = 0; nth < COUNT; nth++) {
    const text = mutated(mail, mail, next).toString('latin1')
    codes.add(outcome(() => readMail(text, APP)).slice(0, 12))
    codes.add(outcome(() => readBody(text, ALICE)).slice(0, 12))
  }
  assert.deepEqual([...codes].sort(), ['["MALFORMED"', 'accepted'])
})

test('mutated messages are read, or called malformed, or name no endpoint', () => {
  const next = numbers(4)
  const long = 'PLEXUS 3.3 1763664414 203.0.113.9:4000 10000111 0.0.0.0:0 00000000 udp:either 99'
  const codes = new Set<string>()
  for (let nth = 0; nth < COUNT; nth++) {
    const text = mutated(Buffer.from(nth % 2 ? LINE : long), Buffer.from(long), next).toString('latin1')
    codes.add(outcome(() => readMessage(text)).slice(0, 10))
  }
  for (const code of codes) assert.ok(['accepted', '["MALFORME', '["NO_PATH"'].includes(code), code)
})

test('the three forms of a message are read, and their UDP endpoint is what counts', () => {
  assert.deepEqual(readMessage(` \r\n${LINE}\t\n`), {
    version: '3.0',
    endpoint: PEER,
    puzzle: 12345678901234567890n,
  })
  const three = readMessage(
    'PLEXUS 3.3 1763664414 203.0.113.9:4000 10000111 203.0.113.9:5000 10000000 any:either 99',
  )
  assert.deepEqual(three.endpoint, PEER)
  assert.equal(three.puzzle, 99n)
  assert.equal(three.qos, 'any:either')
  assert.deepEqual(three.firewall, {
    nat: true,
    hairpin: false,
    randomPort: false,
    variableAddress: false,
    mapping: 'port-dependent',
    filtering: 'address-and-port-dependent',
  })
  const four = readMessage(
    'PLEXUS 3.4 1763664414 [2001:db8::9]:4000 10000111 0.0.0.0:0 direct 0.0.0.0:0 00000000 0.0.0.0:0 direct udp:either 0',
  )
  assert.deepEqual(four.endpoint, { address: '2001:db8::9', port: 4000 })
})

test('what is almost a message is none', () => {
  const wrong = [
    '',
    'PLEXUS',
    'PLEXUS 3.1 203.0.113.9 4000 1',
    'plexus 3.0 203.0.113.9 4000 1',
    'PLEXUS 3.0 203.0.113.9 4000',
    'PLEXUS 3.0 203.0.113.9 4000 1 2',
    'PLEXUS 3.0 203.0.113.9 65536 1',
    'PLEXUS 3.0 203.0.113.9 4000 -1',
    'PLEXUS 3.0 203.0.113.9 4000 0x1',
    'PLEXUS 3.0 203.0.113.9 4000 18446744073709551616',
    'PLEXUS 3.0 example.com 4000 1',
    'PLEXUS constructor 203.0.113.9 4000 1',
    'PLEXUS 3.3 1 203.0.113.9:4000 1000011 0.0.0.0:0 00000000 udp:either 99',
    `${LINE}\n${LINE}`,
    LINE + ' '.repeat(600),
  ]
  for (const text of wrong) assert.throws(() => readMessage(text), { code: 'MALFORMED' }, text)
  for (const endpoint of ['0.0.0.0 4000', '224.0.0.1 4000', '203.0.113.9 0'])
    assert.throws(() => readMessage(`PLEXUS 3.0 ${endpoint} 1`), { code: 'NO_PATH' }, endpoint)
})

test('headers are written as the peer searches for them, or not at all', () => {
  assert.equal(formatAddress(ALICE), 'laptop <alice@example.com>')
  assert.equal(formatSubject('my app', 'accept'), 'my app accept')
  assert.deepEqual(readAddress('laptop <alice@example.com>'), ALICE)
  assert.equal(readSubject('plexus invite', APP), 'invite')
  for (const text of ['alice@example.com', '"laptop" <a b>', '<a@b>', 'a <b> <c>', ''])
    assert.equal(readAddress(text), undefined, text)
  for (const text of ['plexus invited', 'Re: plexus invite', 'plexus2 invite', 'plexus'])
    assert.equal(readSubject(text, APP), undefined, text)
  const refused = { code: 'DIALECT' }
  assert.throws(() => formatAddress({ owner: 'a>b', pin: 'c' }), refused)
  assert.throws(() => formatAddress({ owner: 'a', pin: 'x <y' }), refused)
  assert.throws(() => formatSubject('a\r\nBcc: x', 'invite'), refused)
  assert.throws(() => formatAddress({ owner: 'a', pin: 'b\r\nBcc: x' }), { code: 'IDENTITY_NAME' })
  assert.ok(
    writeBody({ from: ALICE, entity: 'x' }).startsWith('------616c696365406578616d706c652e636f6d\r\n'),
  )
})

for (const role of ['inviter', 'accepter'] as const) {
  test(`a side of the handshake (${role}) bears any datagram, and hears the peer's endpoint alone`, () => {
    const next = numbers(5)
    const secret = 0xfedc_ba98_7654_3210n
    const options = { role, secret, peer: PEER, hops: 7, timeout: 60_000, random: systemRandom }
    const strangers = new Handshake(options, 0)
    strangers.tick(0)
    for (const flag of [0, 1, 1] as const) {
      const data = writeDatagram(flag, secret, systemRandom)
      assert.equal(strangers.receive(1, data, { ...PEER, port: PEER.port + 1 }), false)
      assert.equal(strangers.receive(1, data, { ...PEER, address: '203.0.113.10' }), false)
      // a byte too few or too many is another protocol
      assert.equal(strangers.receive(1, data.subarray(1), PEER), false)
      assert.equal(strangers.receive(1, Buffer.concat([data, data]), PEER), false)
    }
    assert.equal(strangers.state.name, role === 'inviter' ? 'calling' : 'opening')

    const side = new Handshake(options, 0)
    let valid = 0
    for (let nth = 0; nth < COUNT; nth++) {
      const sample = writeDatagram(nth % 2 ? 1 : 0, secret, systemRandom)
      if (side.receive(nth, mutated(sample, sample, next), PEER)) valid++
      assert.ok(side.transmits().length <= 2)
    }
    assert.ok(valid < COUNT)
  })
}

test('an accepter does not take flag 1 for good before it has said any', () => {
  const secret = 7n
  const accepter = new Handshake(
    { role: 'accepter', secret, peer: PEER, hops: 7, timeout: 60_000, random: systemRandom },
    0,
  )
  accepter.tick(0)
  accepter.receive(1, writeDatagram(1, secret, systemRandom), PEER)
  assert.equal(accepter.state.name, 'opening')
  accepter.receive(2, writeDatagram(0, secret, systemRandom), PEER)
  assert.equal(accepter.state.name, 'answering')
  accepter.receive(3, writeDatagram(1, secret, systemRandom), PEER)
  assert.deepEqual(accepter.state, { name: 'succeeded', acknowledged: true })
})

for (const role of ['inviter', 'accepter'] as const) {
  test(`20,000 flags in 5 s have a side of the handshake (${role}) send no more than its own schedule`, () => {
    const secret = 9n
    const side = new Handshake(
      { role, secret, peer: PEER, hops: 7, timeout: 60_000, random: systemRandom },
      0,
    )
    let sent = 0
    for (let now = 0; now < 5000; now++) {
      if (side.due.at <= now) side.tick(now)
      sent += side.transmits().length
      for (let n = 0; n < 4; n++) {
        const flag = role === 'accepter' || now < 3000 ? 0 : 1
        side.receive(now, writeDatagram(flag, secret, systemRandom), PEER)
      }
    }
    // one in 100 ms in answer, and what it says by itself
    assert.ok(sent <= 5000 / 100 + 20, `${sent}`)
  })
}
