import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Host, type IdentityName, parseCertificate } from '../../src/identity/index.js'
import type { Endpoint } from '../../src/net/index.js'
import {
  type Flag,
  Handshake,
  openEntity,
  readDatagram,
  readMail,
  readMessage,
  secretOf,
  writeBody,
  writeDatagram,
  writeMail,
} from '../../src/plexus3/index.js'
import { systemRandom } from '../../src/system/index.js'

/** Two peers of the C++ plexus 3.4.1, recorded: see the README beside it. */
const RECORDED = fileURLToPath(new URL('../../../test/fixtures/plexus-3/', import.meta.url))
const APP = 'px18696'
const ALICE: IdentityName = { owner: 'alice@px.test', pin: 'hosta' }
const BOB: IdentityName = { owner: 'bob@px.test', pin: 'hostb' }
const SECRET = 7189591772806881585n

function host(name: IdentityName): Host {
  const file = (leaf: string) => readFileSync(join(RECORDED, 'repo', name.owner, name.pin, leaf), 'utf8')
  return {
    name,
    certificate: parseCertificate(file('cert.crt')),
    privateKey: createPrivateKey(file('private.key')),
  }
}

interface Recording {
  readonly datagrams: readonly {
    readonly from: 'inviter' | 'accepter'
    readonly flag: Flag
    readonly ttl: number
    readonly payload: string
  }[]
}

const mail = (name: string) => readFileSync(join(RECORDED, name), 'latin1')
const { datagrams } = JSON.parse(readFileSync(join(RECORDED, 'handshake.json'), 'utf8')) as Recording
const PEER: Endpoint = { address: '10.99.1.2', port: 35006 }

test('the recorded invite and accept are opened, verified and understood', () => {
  const invite = readMail(mail('invite.eml'), APP)
  assert.deepEqual([invite.from, invite.to, invite.kind], [ALICE, BOB, 'invite'])
  const invited = openEntity(invite.entity, host(BOB), host(ALICE).certificate)
  const from = readMessage(invited.text)
  assert.deepEqual(from, { version: '3.0', endpoint: PEER, puzzle: 18303526018914185151n })

  const accept = readMail(mail('accept.eml'), APP)
  assert.deepEqual([accept.from, accept.to, accept.kind], [BOB, ALICE, 'accept'])
  const accepted = openEntity(accept.entity, host(ALICE), host(BOB).certificate)
  const answer = readMessage(accepted.text)
  assert.deepEqual(answer.endpoint, { address: '10.99.2.2', port: 56387 })
  assert.equal(secretOf(from.puzzle, answer.puzzle), SECRET)
  assert.equal(invited.digest.length, 32)
  assert.notDeepEqual(invited.digest, accepted.digest)
})

test('the mail of another application is none', () => {
  assert.throws(() => readMail(mail('invite.eml'), 'px1869'), { code: 'MALFORMED' })
})

test('what is written around the recorded entities has the recorded headers and body, byte by byte', () => {
  for (const name of ['invite.eml', 'accept.eml']) {
    const text = mail(name)
    const read = readMail(text, APP)
    const recorded = text.slice(text.indexOf('From: '))
    assert.equal(writeMail(read).replaceAll('\r\n', '\n').trimEnd(), recorded.trimEnd())
    assert.ok(recorded.trimEnd().endsWith(writeBody(read).replaceAll('\r\n', '\n').trimEnd()))
  }
})

test('the recorded datagrams are valid with the secret, have the recorded flags, and none with another one', () => {
  for (const { payload, flag } of datagrams) {
    assert.equal(readDatagram(Buffer.from(payload, 'hex'), SECRET), flag)
    assert.equal(readDatagram(Buffer.from(payload, 'hex'), SECRET ^ 0x10n), undefined)
  }
  const flags = [0, 1, 0, 1] as const
  for (const flag of flags) {
    assert.equal(readDatagram(writeDatagram(flag, SECRET, systemRandom), SECRET), flag)
  }
})

for (const role of ['inviter', 'accepter'] as const) {
  test(`the recorded handshake is accepted datagram by datagram as ${role}`, () => {
    const side = new Handshake(
      { role, secret: SECRET, peer: PEER, hops: 7, timeout: 60_000, random: systemRandom },
      0,
    )
    side.tick(0)
    const [first] = side.transmits()
    assert.equal(first?.flag, 0)
    assert.equal(first.ttl, role === 'accepter' ? 7 : undefined)
    let now = 0
    for (const { from, flag, payload } of datagrams) {
      if (from === role) continue
      now += 100
      side.transmits()
      assert.equal(side.receive(now, Buffer.from(payload, 'hex'), PEER), true)
      // nothing goes out by what was received: anybody may have sent it from there
      const before = side.transmits().length
      side.tick(now)
      const answers = side.transmits().map((transmit) => transmit.flag)
      // the inviter answers flag 1 with flag 1, the accepter flag 0 with flag 1
      const expected = role === 'inviter' ? flag === 1 : flag === 0
      if (before === 0) assert.deepEqual(answers, expected ? [1] : [])
    }
    side.tick(1_000)
    assert.deepEqual(side.state, { name: 'succeeded', acknowledged: true })
    assert.equal(side.due.at, Number.POSITIVE_INFINITY)
  })
}
