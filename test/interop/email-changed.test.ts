import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type Mailbox, openRendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { ANSWERS, CHANGES } from '../support/changed-mail.js'
import { ContentFilter } from '../support/content-filter.js'
import { freePorts, MailServer, mailServerMissing } from '../support/mail-server.js'
import { contextFor } from '../unit/rendezvous.js'

const [ALICE, BOB] = ['alice@example.com', 'bob@example.com']

describe('mail that a content filter of Postfix changes on its way', { skip: mailServerMissing() }, () => {
  let server: MailServer
  let filter: ContentFilter
  before(async () => {
    const [before = 0, back = 0] = await freePorts(2)
    server = await MailServer.start([ALICE, BOB], {
      postfix: [`content_filter = smtp:[127.0.0.1]:${before}`, 'smtp_tls_security_level = none'],
      services: [
        `127.0.0.1:${back} inet n - n - - smtpd -o content_filter= -o smtpd_relay_restrictions=permit_mynetworks,reject -o mynetworks=127.0.0.0/8 -o smtpd_sasl_auth_enable=no`,
      ],
    })
    filter = await ContentFilter.start(before, back)
  })
  after(async () => {
    filter?.close()
    await server?.stop()
  })

  const open = async (t: TestContext, user: string) => {
    const rendezvous = await openRendezvous(['email:'], contextFor(t, server.options(user)))
    t.after(() => rendezvous.close())
    return rendezvous
  }

  test('arrives whatever the filter makes of it, and nothing of it stays; what is no longer ours stays', async (t) => {
    const [alice, bob] = [await open(t, ALICE), await open(t, BOB)]
    const mailbox: Mailbox = { kind: 'session', app: 'test', identity: `${BOB}/1`, seed: systemRandom(32) }
    const signal = AbortSignal.timeout(90_000)
    const messages = bob.receive(mailbox, { signal })[Symbol.asyncIterator]()
    const post = (message: Uint8Array) => {
      const expires = systemClock.date() + 600_000
      const envelope = { to: mailbox, from: `${ALICE}/1`, session: systemRandom(16), expires }
      return alice.post(envelope, message, { signal })
    }
    for (const [name, change] of Object.entries(CHANGES)) {
      // on its way through SMTP every line ends in CRLF
      filter.change = (mail) => change(mail).replace(/\r?\n/g, '\r\n')
      const message = systemRandom(3000)
      await post(message)
      assert.deepEqual((await messages.next()).value, message, name)
    }
    const kept = Object.entries(ANSWERS)
    for (const [, change] of kept) {
      filter.change = change
      await post(systemRandom(300))
    }
    while (server.mails(BOB).length < kept.length) await setTimeout(20, undefined, { signal })
    filter.change = (mail) => mail
    const last = systemRandom(300)
    await post(last)
    assert.deepEqual((await messages.next()).value, last)
    await bob.close()
    const left = server.mails(BOB)
    assert.equal(left.length, kept.length)
    for (const path of left)
      assert.doesNotMatch(path.split(':2,')[1] ?? '', /[ST]/, readFileSync(path, 'latin1'))
  })
})
