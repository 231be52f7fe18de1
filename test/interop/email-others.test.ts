import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, type TestContext, test } from 'node:test'
import { writeMail } from '../../rendezvous/email/message.js'
import { type Mailbox, openRendezvous } from '../../rendezvous/index.js'
import { mailboxName } from '../../rendezvous/mailbox.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { ANSWERS } from '../support/changed-mail.js'
import { MailServer, mailServerMissing } from '../support/mail-server.js'
import { contextFor } from '../unit/rendezvous.js'

const [ALICE, BOB] = ['alice@example.com', 'bob@example.com']
const HOUR = 3_600_000

describe('mail of others', { skip: mailServerMissing() }, () => {
  let server: MailServer
  before(async () => {
    server = await MailServer.start([ALICE, BOB])
  })
  after(() => server?.stop())

  const open = async (t: TestContext) => {
    const rendezvous = await openRendezvous(['email:'], contextFor(t, server.options(BOB)))
    t.after(() => rendezvous.close())
    return rendezvous
  }
  const mailboxOf = (user: string): Mailbox => ({
    kind: 'session',
    app: 'test',
    identity: `${user}/1`,
    seed: systemRandom(32),
  })
  const ours = (mailbox: Mailbox, sealed: Uint8Array, expires: number) =>
    writeMail({ mailbox: mailboxName(mailbox), expires }, sealed, {
      from: ALICE,
      to: BOB,
      date: systemClock.date(),
    }).text
  /** What lies in a folder, with the flags of each. */
  const lying = (folder: string) =>
    server.mails(BOB, folder === 'INBOX' ? '' : folder).map((path) => ({
      flags: path.split(':2,')[1] ?? '',
      text: readFileSync(path, 'latin1'),
    }))

  test('that quotes the subject of ours stays unread in every folder, whether that has expired or is waited for', async (t) => {
    const mailbox = mailboxOf(BOB)
    const folders = ['INBOX', 'Junk', 'Trash', 'Sent']
    let put = 0
    for (const folder of folders) {
      for (const expires of [systemClock.date() - 2 * HOUR, systemClock.date() + HOUR]) {
        for (const answer of Object.values(ANSWERS)) {
          server.append(BOB, folder, answer(ours(mailbox, systemRandom(100), expires)))
          put++
        }
      }
      // what is really ours goes all the same
      server.append(BOB, folder, ours(mailboxOf(BOB), systemRandom(100), systemClock.date() - 2 * HOUR))
    }
    const bob = await open(t)
    const messages = bob.receive(mailbox, { signal: AbortSignal.timeout(60_000) })
    const message = systemRandom(300)
    server.append(BOB, 'INBOX', ours(mailbox, message, systemClock.date() + HOUR))
    let given = 0
    for await (const each of messages) {
      given++
      if (message.equals(each)) break
    }
    await bob.close() // which tidies up
    const left = folders.flatMap(lying)
    t.diagnostic(`${left.length} of ${put} stay`)
    assert.equal(left.length, put)
    assert.equal(given, 1)
    assert.ok(left.every(({ flags }) => !/[ST]/.test(flags)))
  })
})
