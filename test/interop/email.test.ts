import { after, before, describe, test } from 'node:test'
import { conformanceChecks } from '../../rendezvous/conformance.js'
import { openRendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { MailServer, mailServerMissing } from '../support/mail-server.js'
import { contextFor } from '../unit/rendezvous.js'

const [ALICE, BOB, BOX] = ['alice@example.com', 'bob@example.com', 'box@example.com']

describe('email over Postfix and Dovecot', { skip: mailServerMissing() }, () => {
  let server: MailServer
  before(async () => {
    server = await MailServer.start([ALICE, BOB, BOX])
  })
  after(() => server?.stop())

  for (const check of conformanceChecks()) {
    test(`one account for both sides: ${check.name}`, async (t) => {
      const open = () => openRendezvous([`email:${BOX}`], contextFor(t, server.options(BOX)))
      const [inviter, accepter] = [await open(), await open()]
      try {
        await check.run({ inviter, accepter, clock: systemClock, random: systemRandom })
      } finally {
        await Promise.all([inviter.close(), accepter.close()])
      }
    })
  }
})
