import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { labelOf, readMail, writeMail } from '../../rendezvous/email/message.js'
import { behindMarks } from '../../src/mail/index.js'
import { ANSWERS, CHANGES } from '../support/changed-mail.js'

const LABEL = { mailbox: '0123456789abcdef0123456789abcdef', expires: 1_900_000_000_000 }
const ADDRESSES = { from: 'alice@example.com', to: 'bob@example.com', date: 1_700_000_000_000 }
/** Bytes of every value, of a length that leaves no, one or two signs of padding. */
const message = (length: number) =>
  Buffer.concat(
    Array.from({ length: Math.ceil(length / 32) }, (_, n) => createHash('sha256').update(`${n}`).digest()),
  ).subarray(0, length)
const read = async (text: string) => {
  const source = Buffer.from(text)
  const label = labelOf(text.slice(0, /\r?\n\r?\n/.exec(text)?.index))
  return label && (await readMail(source, label))
}

for (const [name, change] of Object.entries(CHANGES)) {
  test(`what was written is found in a mail with: ${name}`, async () => {
    for (const length of [1, 300, 2850, 2851, 4000, 4096]) {
      const sealed = message(length)
      const mail = change(writeMail(LABEL, sealed, ADDRESSES).text)
      assert.deepEqual(labelOf(mail.slice(0, /\r?\n\r?\n/.exec(mail)?.index)), LABEL)
      assert.deepEqual(await read(mail), sealed, `${length}\n${mail.slice(0, 1500)}`)
    }
  })
}

for (const [name, change] of Object.entries(ANSWERS)) {
  test(`nothing of ours is: ${name}`, async () => {
    assert.equal(await read(change(writeMail(LABEL, message(300), ADDRESSES).text)), undefined)
  })
}

test('a Message-ID that proves the content finds it under any name', async () => {
  const mail = writeMail(LABEL, message(500), ADDRESSES).text.replaceAll('message.plexus', 'ATT00001.bin')
  assert.deepEqual(await read(mail), message(500))
  assert.equal(await read(mail.replace(/Message-ID: <../, 'Message-ID: <00')), undefined)
})

test('marks around a subject are not told from each other, and answers are', () => {
  const found = (subject: string) =>
    behindMarks(subject, (text) => (text === 'it' ? true : undefined)) ?? false
  for (const good of [
    'it',
    '[a] it',
    '[a][b] (c) it',
    'SPAM it',
    'Externe E-Mail: it',
    '_EXT_ it',
    '<external> it [x] (y)',
    'Warnung - it',
  ])
    assert.ok(found(good), good)
  for (const answer of [
    'Re: it',
    'RE : it',
    'Antwort: it',
    '[x] WG: it',
    'RE it',
    'it (fwd)',
    '[Fwd: it]',
    'Re: [x] it',
    '回复: it',
    'so it',
    '> it',
    'Out of office: it',
  ])
    assert.ok(!found(answer), answer)
})

test('a mail made to be costly is read in a time like that of its size', async () => {
  const began = process.cpuUsage()
  const part = (n: number) => `Content-Type: multipart/mixed; boundary=b${n}\r\n\r\n--b${n}\r\n`
  const deep = Array.from({ length: 5000 }, (_, n) => part(n)).join('')
  const wide = `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nx\r\n'.repeat(20_000)}`
  const nested = 'Content-Type: message/rfc822\r\n\r\n'.repeat(7000)
  const long = `Subject: ${'[x] '.repeat(60_000)}\r\n\r\n`
  const starred = `Subject: ${'* '.repeat(100_000)}\r\n\r\n`
  for (const text of [deep, wide, nested, long, starred])
    assert.equal(await read(text.slice(0, 262_144)), undefined)
  const { user, system } = process.cpuUsage(began)
  assert.ok(user + system < 5_000_000, `${(user + system) / 1000} ms`)
})
