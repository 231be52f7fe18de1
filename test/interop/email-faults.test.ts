import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { writeMail } from '../../rendezvous/email/message.js'
import { type Mailbox, openRendezvous, type Rendezvous } from '../../rendezvous/index.js'
import { mailboxName } from '../../rendezvous/mailbox.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { MailServer, mailServerMissing } from '../support/mail-server.js'
import { TcpRelay } from '../support/tcp-relay.js'
import { contextFor, recorder, temporaryDirectory } from '../unit/rendezvous.js'

const [ALICE, BOB, FULL] = ['alice@example.com', 'bob@example.com', 'full@example.com']
/** Mails of other people in a mailbox that must not be touched. */
const FOREIGN = 5000

describe('email when something goes wrong', { skip: mailServerMissing() }, () => {
  let server: MailServer
  before(async () => {
    server = await MailServer.start([ALICE, BOB, FULL])
  })
  after(() => server?.stop())

  type Changes = Parameters<MailServer['options']>[1]

  const open = async (t: TestContext, user: string, changes: Changes = {}, log = recorder()) => {
    const rendezvous = await openRendezvous(['email:'], contextFor(t, server.options(user, changes), log.log))
    t.after(() => rendezvous.close())
    return Object.assign(rendezvous, { lines: log.lines })
  }
  const mailboxOf = (user: string): Mailbox => ({
    kind: 'session',
    app: 'test',
    identity: `${user}/1`,
    seed: systemRandom(32),
  })
  const post = (
    rendezvous: Rendezvous,
    to: Mailbox,
    sealed: Uint8Array,
    signal = AbortSignal.timeout(60_000),
  ) => {
    const expires = systemClock.date() + 600_000
    return rendezvous.post({ to, from: `${ALICE}/1`, session: systemRandom(16), expires }, sealed, { signal })
  }
  const receive = (rendezvous: Rendezvous, mailbox: Mailbox) =>
    rendezvous.receive(mailbox, { signal: AbortSignal.timeout(90_000) })[Symbol.asyncIterator]()
  const ours = (mailbox: Mailbox, sealed: Uint8Array) =>
    writeMail({ mailbox: mailboxName(mailbox), expires: systemClock.date() + 600_000 }, sealed, {
      from: ALICE,
      to: BOB,
      date: systemClock.date(),
    }).text

  test('a connection that is cut while idle loses no message', async (t) => {
    const [alice, bob, mailbox] = [await open(t, ALICE), await open(t, BOB), mailboxOf(BOB)]
    const messages = receive(bob, mailbox)
    for (const message of [systemRandom(500), systemRandom(500), systemRandom(500)]) {
      await post(alice, mailbox, message)
      assert.deepEqual((await messages.next()).value, message)
      server.kick(BOB)
    }
  })

  test('a connection that is cut while a mail is fetched loses no message', async (t) => {
    const relay = await TcpRelay.open(server.ports.imaps)
    t.after(() => relay.close())
    const [alice, mailbox] = [await open(t, ALICE), mailboxOf(BOB)]
    const bob = await open(t, BOB, { 'email-imaps': `localhost:${relay.port}` })
    const messages = receive(bob, mailbox)
    await bob.ready?.({ signal: AbortSignal.timeout(30_000) })
    for (const message of [systemRandom(60_000), systemRandom(60_000)]) {
      relay.cutAfter(30_000) // in the middle of its body: nothing else is as large
      await post(alice, mailbox, message)
      assert.deepEqual((await messages.next()).value, message)
    }
    assert.equal(relay.connections, 3)
    await bob.close()
    const left = ['search', '-u', BOB, 'mailbox', 'INBOX', 'subject', mailboxName(mailbox)]
    assert.equal(server.doveadm(...left), '')
  })

  test('flags that others change all the while, and messages that come at any moment, lose none', async (t) => {
    const { ImapFlow } = await import('imapflow')
    server.append(BOB, 'INBOX', 'Subject: of somebody else\r\n\r\nhello\r\n')
    const client = new ImapFlow({
      host: 'localhost',
      port: server.ports.imaps,
      secure: true,
      auth: { user: BOB, pass: 'secret' },
      tls: { ca: readFileSync(server.ca) },
      logger: false,
    })
    await client.connect()
    await client.mailboxOpen('INBOX')
    let over = false
    const others = (async () => {
      for (let n = 0; !over; n++)
        await client[n % 2 ? 'messageFlagsAdd' : 'messageFlagsRemove']('1:*', ['\\Flagged'])
    })()
    // one account, read by several that remove what is theirs
    await Promise.all(
      [1, 2, 3, 4].map(async () => {
        const [bob, mailbox] = [await open(t, BOB), mailboxOf(BOB)]
        const messages = receive(bob, mailbox)
        for (let n = 0; n < 4; n++) {
          const message = systemRandom(300)
          await setTimeout(systemRandom(1).readUInt8()) // on its way into IDLE, in it, or on its way out
          server.append(BOB, 'INBOX', ours(mailbox, message))
          assert.deepEqual((await messages.next()).value, message)
        }
        assert.ok(!bob.lines.some(({ message }) => /cannot be read/.test(message)), JSON.stringify(bob.lines))
      }),
    )
    over = true
    await others
    await client.logout()
    server.doveadm('expunge', '-u', BOB, 'mailbox', 'INBOX', 'ALL')
  })

  test('a restart of Dovecot is survived by who posts and by who receives', async (t) => {
    const [alice, bob, mailbox] = [await open(t, ALICE), await open(t, BOB), mailboxOf(BOB)]
    const messages = receive(bob, mailbox)
    const [first, second] = [systemRandom(500), systemRandom(500)]
    await post(alice, mailbox, first)
    assert.deepEqual((await messages.next()).value, first)
    await server.stopDovecot()
    const posted = post(alice, mailbox, second) // who logs in is known to Dovecot alone
    await server.startDovecot()
    await posted
    assert.deepEqual((await messages.next()).value, second)
  })

  test('a server that takes nothing for a while is tried again', async (t) => {
    const [alice, bob, mailbox] = [await open(t, ALICE), await open(t, BOB), mailboxOf(BOB)]
    const messages = receive(bob, mailbox)
    await server.defer(true)
    const [message, refused] = [systemRandom(500), systemRandom(500)]
    const given = AbortSignal.timeout(4000)
    await assert.rejects(post(alice, mailbox, refused, given), {
      code: 'RENDEZVOUS_UNREACHABLE',
      message: /451/,
    })
    const posted = post(alice, mailbox, message)
    await server.defer(false)
    await posted
    assert.deepEqual((await messages.next()).value, message)
  })

  test('a receiver that does not exist is told at once', async (t) => {
    const alice = await open(t, ALICE)
    await assert.rejects(post(alice, mailboxOf('nobody@example.com'), systemRandom(10)), {
      code: 'RENDEZVOUS_FOREIGN',
    })
    await assert.rejects(post(alice, mailboxOf('no address'), systemRandom(10)), {
      code: 'RENDEZVOUS_FOREIGN',
    })
  })

  test('STARTTLS on both servers, and a password that a program prints', async (t) => {
    const { submission, imap } = server.ports
    const starttls = {
      'email-smtps': `smtp://localhost:${submission}`,
      'email-imaps': `imap://localhost:${imap}`,
      'email-password': undefined,
    }
    const file = join(temporaryDirectory(t), 'password')
    writeFileSync(file, 'secret\n', { mode: 0o600 })
    const alice = await open(t, ALICE, { ...starttls, 'email-password-command': '/usr/bin/whoami' })
    await assert.rejects(post(alice, mailboxOf(BOB), systemRandom(10)), { code: 'EMAIL_LOGIN' })
    const bob = await open(t, BOB, { ...starttls, 'email-password-file': file })
    const [mailbox, message] = [mailboxOf(BOB), systemRandom(500)]
    const messages = receive(bob, mailbox)
    await post(bob, mailbox, message)
    assert.deepEqual((await messages.next()).value, message)
  })

  test('a server without STARTTLS is not told who logs in', async (t) => {
    const heard: string[] = []
    const plain = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (data) => {
        heard.push(data.toString())
        const tag = /^(A|\d)\S* /i.exec(data.toString())?.[0]
        socket.write(
          tag && !/^EHLO|^HELO/i.test(data.toString()) ? `${tag}OK done\r\n` : '250 plain.example\r\n',
        )
      })
      socket.write(
        socket.localPort === smtp() ? '220 plain.example ESMTP\r\n' : '* OK [CAPABILITY IMAP4rev1] hi\r\n',
      )
    })
    const imap = createServer((socket) => plain.emit('connection', socket))
    const smtp = () => (plain.address() as { port: number }).port
    await Promise.all([plain, imap].map((each) => once(each.listen(0, '127.0.0.1'), 'listening')))
    t.after(() => Promise.all([plain, imap].map((each) => each.close())))
    const alice = await open(t, ALICE, {
      'email-smtps': `smtp://localhost:${smtp()}`,
      'email-imaps': `imap://localhost:${(imap.address() as { port: number }).port}`,
    })
    void receive(alice, mailboxOf(ALICE)).next()
    await assert.rejects(post(alice, mailboxOf(BOB), systemRandom(10), AbortSignal.timeout(4000)))
    await alice.close()
    assert.ok(heard.some((said) => /EHLO/.test(said)))
    assert.ok(heard.some((said) => /STARTTLS|CAPABILITY/.test(said)))
    assert.ok(!heard.some((said) => /AUTH |LOGIN|AUTHENTICATE|MAIL FROM|secret/i.test(said)), heard.join(''))
  })

  test('what was taken for junk arrives, and copies of it in Sent and Trash go; those of others stay', async (t) => {
    const [mailbox, message] = [mailboxOf(BOB), systemRandom(500)]
    const foreign = 'From: x@example.net\r\nSubject: hello\r\n\r\nhello\r\n'
    for (const folder of ['Junk', 'Sent', 'Trash']) {
      server.append(BOB, folder, foreign)
      server.append(BOB, folder, ours(mailbox, message))
    }
    const bob = await open(t, BOB)
    assert.deepEqual((await receive(bob, mailbox).next()).value, message)
    await bob.close()
    for (const folder of ['Junk', 'Sent', 'Trash']) assert.equal(server.mails(BOB, folder).length, 1, folder)
  })

  test(`${FOREIGN} mails of others are neither opened, marked nor moved, and one is still found among them`, async (t) => {
    const cur = join(server.maildir(FULL), 'cur')
    mkdirSync(cur, { recursive: true })
    for (let n = 0; n < FOREIGN; n++) {
      // some are marked for removal by their owner, who has not yet let them go
      const flags = n % 3 === 0 ? 'ST' : 'S'
      const text = `From: x@example.net\r\nSubject: mail ${n}\r\n\r\nhello\r\n`
      writeFileSync(join(cur, `${1_500_000_000 + n}.M${n}P1.example:2,${flags}`), text)
    }
    for (const path of [server.maildir(FULL), cur]) await own(path)
    const before = server.mails(FULL).sort()
    const [mailbox, message] = [mailboxOf(FULL), systemRandom(500)]
    const [alice, full] = [await open(t, ALICE), await open(t, FULL)]
    const began = performance.now()
    await post(alice, mailbox, message)
    assert.deepEqual((await receive(full, mailbox).next()).value, message)
    t.diagnostic(`posted and received after ${Math.round(performance.now() - began)} ms`)
    await full.close()
    assert.deepEqual(server.mails(FULL).sort(), before)
  })
})

/** Gives a directory and all in it to the owner of the mail. */
async function own(path: string): Promise<void> {
  const { chown, readdir } = await import('node:fs/promises')
  await chown(path, 65_534, 65_534)
  for (const name of await readdir(path)) await chown(join(path, name), 65_534, 65_534)
}
