import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createIdentity, type Host, Repository } from '../../src/identity/index.js'
import {
  findEntity,
  openEntity,
  readHead,
  sealEntity,
  writeMail,
  writeMessage,
} from '../../src/plexus3/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { ANSWERS, CHANGES, quotedPrintable } from '../support/changed-mail.js'

const ALICE = { owner: 'alice@example.com', pin: 'laptop' }
const BOB = { owner: 'bob@example.com', pin: 'server' }
const APP = 'plexus'
const LINE = writeMessage({ endpoint: { address: '203.0.113.9', port: 4000 }, puzzle: 12345678901234567890n })

let scratch: string
let [alice, bob]: Host[] = []
let letter = ''

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus3-changed-'))
  for (const name of [ALICE, BOB])
    await createIdentity(scratch, name, { key: 'rsa', random: systemRandom, date: systemClock.date() })
  const repository = await Repository.open(scratch)
  alice = await repository.host(ALICE)
  bob = await repository.host(BOB)
  const entity = await sealEntity(LINE, alice, bob.certificate)
  letter = writeMail({ from: ALICE, to: BOB, app: APP, kind: 'invite', entity })
})
after(() => rm(scratch, { recursive: true, force: true }))

/** What a letter box gives of it, if its outside is that of an invite. */
const given = (mail: string) => {
  const [header = '', body = ''] = mail.split(/\r?\n\r?\n(.*)/s)
  const head = readHead(header, APP)
  return head && { head, body: Buffer.from(body), source: Buffer.from(mail) }
}

/** The attached message itself is written anew. */
const inner = (name: string, encode: (bytes: Buffer) => string) => (mail: string) =>
  mail.replace(
    /(Content-Transfer-Encoding:) base64(\r\n\r\n)([A-Za-z0-9+/=\r\n]+)/,
    (_, field: string, gap: string, digits: string) =>
      `${field} ${name}${gap}${encode(Buffer.from(digits, 'base64'))}\r\n`,
  )
const changes = {
  ...Object.fromEntries(
    Object.entries(CHANGES).filter(
      // these are of a mail that is nothing but an attachment
      ([name]) => !/encoded anew|the same with a footer|another length|name in (?:pieces|percent)/.test(name),
    ),
  ),
  'the message encoded anew': inner('quoted-printable', quotedPrintable),
  'the message in long lines': inner('BASE64', (bytes) =>
    (bytes.toString('base64').match(/.{1,76}/g) ?? []).join('\r\n'),
  ),
  'a quoted pin': (mail: string) => mail.replace(/^From: laptop/m, 'From: "laptop"'),
  'an encoded pin': (mail: string) => mail.replace(/^To: server/m, 'To: =?UTF-8?B?c2VydmVy?='),
  'another boundary': (mail: string) => mail.replaceAll(/----[0-9a-f]{20,}/g, '=_anew'),
}

for (const [name, change] of Object.entries(changes)) {
  test(`a plexus 3.x invite is read in a mail with: ${name}`, async () => {
    const found = given(change(letter))
    assert.ok(found && alice && bob, change(letter).slice(0, 600))
    assert.deepEqual(found.head, { from: ALICE, to: BOB, kind: 'invite' })
    const entity = await findEntity(found, ALICE)
    assert.equal(openEntity(entity ?? '', bob, alice.certificate).text, LINE)
  })
}

for (const [name, change] of Object.entries(ANSWERS)) {
  test(`no plexus 3.x invite is: ${name}`, async () => {
    const mail = change(letter)
    const found = given(mail)
    assert.equal(found && (await findEntity(found, ALICE)), undefined)
  })
}
