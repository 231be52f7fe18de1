import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { writeMail } from '../../rendezvous/email/message.js'
import { type Mailbox, openRendezvous } from '../../rendezvous/index.js'
import { mailboxName } from '../../rendezvous/mailbox.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { asPlexusError, type PlexusError } from '../../src/errors/index.js'
import { type Answers, type Certified, certify, OddImap, OddSmtp } from '../support/odd-mail.js'
import { contextFor, recorder } from '../unit/rendezvous.js'

const [ALICE, BOB] = ['alice@example.com', 'bob@example.com']

/** Each test has servers of its own, and most of its time is waiting. */
const odd = { skip: existsSync('/usr/bin/openssl') ? false : 'openssl missing', concurrency: 12 }

describe('mail servers that answer oddly', odd, () => {
  const directory = mkdtempSync(join(tmpdir(), 'plexus-odd-'))
  let certified: Certified | undefined
  before(() => {
    certified = certify(directory)
  })
  after(() => rmSync(directory, { recursive: true, force: true }))

  const open = async (t: TestContext, answers: { smtp?: Answers; imap?: Answers }, more = {}) => {
    assert.ok(certified)
    const smtp = await new OddSmtp(certified, answers.smtp).listen()
    const imap = await new OddImap(certified, answers.imap).listen()
    const { log, lines } = recorder()
    const options = {
      'email-smtps': `localhost:${smtp.port}`,
      'email-imaps': `localhost:${imap.port}`,
      'email-login': ALICE,
      'email-password': 'secret',
      'email-ca': certified.ca,
      ...more,
    }
    const rendezvous = await openRendezvous(['email:'], contextFor(t, options, log))
    t.after(async () => {
      await rendezvous.close()
      smtp.close()
      imap.close()
    })
    const said = (words: RegExp) => lines.filter(({ message }) => words.test(message)).length
    return Object.assign(rendezvous, { said, smtp, imap })
  }
  const accepter = (): Mailbox => ({
    kind: 'identity',
    app: 'test',
    identity: `${BOB}/1`,
    certificate: systemRandom(32),
  })
  const session = (): Mailbox => ({
    kind: 'session',
    app: 'test',
    identity: `${ALICE}/1`,
    seed: systemRandom(32),
  })
  type Opened = Awaited<ReturnType<typeof open>>
  const post = (rendezvous: Opened, signal: AbortSignal, to = accepter()) =>
    rendezvous.post(
      { to, from: `${ALICE}/1`, session: systemRandom(16), expires: systemClock.date() + 600_000 },
      systemRandom(100),
      { signal },
    )
  /** Posts, and has no more time as soon as `enough` is true. */
  const postUntil = async (rendezvous: Opened, enough: () => boolean): Promise<PlexusError | undefined> => {
    const time = new AbortController()
    let over = false
    const posted = outcome(post(rendezvous, time.signal)).finally(() => {
      over = true
    })
    while (!over && !enough()) await setTimeout(20)
    time.abort(new Error('there is no more time'))
    return await posted
  }
  /** The mail was taken, and the mailbox could not be read. */
  const taken = (rendezvous: Opened) => () =>
    rendezvous.smtp.times(/^QUIT/) === 1 && rendezvous.said(/cannot be read/) === 1
  const outcome = (posted: Promise<void>): Promise<PlexusError | undefined> =>
    posted.then(
      () => undefined,
      (thrown: unknown) => asPlexusError(thrown),
    )
  const receive = (rendezvous: Opened, mailbox: Mailbox) => {
    const messages = rendezvous
      .receive(mailbox, { signal: AbortSignal.timeout(30_000) })
      [Symbol.asyncIterator]()
    const first = messages.next()
    first.catch(() => {})
    return first
  }

  for (const [stage, reply, code] of [
    ['.', '554 5.7.1 Message rejected under policy 12', 'RENDEZVOUS_FOREIGN'],
    ['.', '550 content not allowed here', 'RENDEZVOUS_FOREIGN'],
    ['.', '552 5.3.4 message too big', 'RENDEZVOUS_FOREIGN'],
    ['DATA', '554 5.5.1 no valid recipients', 'RENDEZVOUS_FOREIGN'],
    ['MAIL FROM', '553 5.7.1 sender not owned by user', 'RENDEZVOUS_FOREIGN'],
    ['MAIL FROM', '571 an unknown code', 'RENDEZVOUS_FOREIGN'],
    ['MAIL FROM', '530 5.7.0 authentication required', 'EMAIL_LOGIN'],
    ['RCPT TO', '550 5.1.1 no such user', 'RENDEZVOUS_FOREIGN'],
    ['RCPT TO', '550-5.7.26 unauthenticated\r\n550 5.7.26 see the manual', 'RENDEZVOUS_FOREIGN'],
    ['greeting', '554 5.7.1 your address is on a list', 'RENDEZVOUS_FOREIGN'],
    ['EHLO', '550 5.7.1 helo rejected', 'RENDEZVOUS_FOREIGN'],
    ['AUTH', '535 5.7.8 bad credentials', 'EMAIL_LOGIN'],
    ['AUTH', '534-5.7.9 application-specific password\r\n534 5.7.9 required', 'EMAIL_LOGIN'],
    ['AUTH', '550 an unknown refusal', 'EMAIL_LOGIN'],
  ] as const) {
    test(`submission: '${reply.split('\r\n')[0]}' at ${stage} is final, once, in the server's words`, async (t) => {
      const alice = await open(t, { smtp: { [stage]: reply, ...(stage === 'EHLO' ? { HELO: reply } : {}) } })
      const error = await outcome(post(alice, AbortSignal.timeout(60_000)))
      assert.equal(error?.code, code, error?.message)
      for (const line of reply.split('\r\n'))
        assert.ok(error?.message.includes(line.replace(/^\d{3}[ -](?:\d\.\d+\.\d+ )?/, '')), error?.message)
      assert.ok(error?.message.includes(reply.slice(0, 3)))
      assert.equal(alice.smtp.times(/^EHLO/), stage === 'greeting' ? 0 : 1)
    })
  }

  for (const [stage, reply] of [
    ['greeting', '421 4.3.2 closing for maintenance'],
    ['AUTH', '454 4.7.0 temporary authentication failure'],
    ['AUTH', '421 4.7.0 too many login attempts'],
    ['MAIL FROM', '451 4.7.1 try later'],
    ['RCPT TO', '450 4.2.0 greylisted'],
    ['RCPT TO', '552 5.2.2 over quota'],
    ['RCPT TO', '550 4.2.2 over quota'],
    ['DATA', '452 4.3.1 insufficient system storage'],
    ['.', '451 an unknown failure'],
    ['.', '554 5.4.5 system congestion'],
    ['.', 'cut'],
  ] as const) {
    test(`submission: '${reply}' at ${stage} passes, and the mail is handed in again`, async (t) => {
      const alice = await open(t, { smtp: { [stage]: [reply] } })
      assert.equal(await outcome(post(alice, AbortSignal.timeout(60_000))), undefined)
    })
  }

  test('submission: words that put off are the last ones when time is up', async (t) => {
    for (const [stage, reply] of [
      ['RCPT TO', '450 4.2.0 greylisted for 300 s'],
      ['AUTH', '454 4.7.0 the directory is down'],
    ] as const) {
      const alice = await open(t, { smtp: { [stage]: reply } })
      const error = await postUntil(alice, () => alice.said(/sending failed/) === 1)
      assert.equal(error?.code, 'RENDEZVOUS_UNREACHABLE')
      assert.ok(error?.message.includes(reply), error?.message)
    }
  })

  for (const [reply, code] of [
    ['NO [AUTHENTICATIONFAILED] it is wrong', 'EMAIL_LOGIN'],
    ['NO [AUTHORIZATIONFAILED] not as that one', 'EMAIL_LOGIN'],
    ['NO [EXPIRED] it was good once', 'EMAIL_LOGIN'],
    ['NO [PRIVACYREQUIRED] not like this', 'EMAIL_LOGIN'],
    ['NO [CONTACTADMIN] call us', 'EMAIL_LOGIN'],
    ['NO Login failed.', 'EMAIL_LOGIN'],
    ['NO LOGIN failed.', 'EMAIL_LOGIN'],
    ['NO [ALERT] Invalid credentials (Failure)', 'EMAIL_LOGIN'],
    ['NO [ALERT] Too many simultaneous connections. (Failure)', 'RENDEZVOUS_UNREACHABLE'],
    ['NO [UNAVAILABLE] the user database is down', 'RENDEZVOUS_UNREACHABLE'],
    ['NO [INUSE] somebody has it', 'RENDEZVOUS_UNREACHABLE'],
    ['NO [LIMIT] enough', 'RENDEZVOUS_UNREACHABLE'],
    ['NO [NEWCODE] words that nobody knows', 'RENDEZVOUS_UNREACHABLE'],
    ['NO Temporary authentication failure', 'RENDEZVOUS_UNREACHABLE'],
    ['BAD [SERVERBUG] oh', 'RENDEZVOUS_UNREACHABLE'],
  ] as const) {
    test(`mailbox: '${reply}' at login is ${code}, though the mail was taken`, async (t) => {
      const alice = await open(t, { imap: { LOGIN: `% ${reply}` } })
      void receive(alice, session())
      const error = await postUntil(alice, taken(alice))
      assert.equal(error?.code, code, error?.message)
      assert.ok(error?.message.includes(reply.replace(/^\w+ /, '').replace(/\.$/, '')), error?.message)
      assert.ok(alice.imap.times(/ LOGIN /) <= 2, 'asking too often makes it worse')
      assert.equal(alice.said(/cannot be read/), 1)
    })
  }

  for (const [greeting, words] of [
    ['* BYE Too many connections from your address', /Too many connections from your address/],
    ['* BYE [UNAVAILABLE] maintenance until noon', /maintenance until noon/],
    ['cut', /is unavailable/],
  ] as const) {
    test(`mailbox: the greeting '${greeting}' is passing, in the server's words`, async (t) => {
      const alice = await open(t, { imap: { greeting } })
      void receive(alice, session())
      const error = await postUntil(alice, taken(alice))
      assert.equal(error?.code, 'RENDEZVOUS_UNREACHABLE')
      assert.match(error?.message ?? '', words)
    })
  }

  for (const [reply, code] of [
    ['NO [NONEXISTENT] no such thing', 'BAD_FLAG'],
    ['NO Mailbox does not exist', 'BAD_FLAG'],
    ['NO [NOPERM] not yours', 'BAD_FLAG'],
    ['NO [UNAVAILABLE] the store is down', 'RENDEZVOUS_UNREACHABLE'],
    ['NO [SERVERBUG] oh', 'RENDEZVOUS_UNREACHABLE'],
    ['NO [INUSE] locked', 'RENDEZVOUS_UNREACHABLE'],
    ['NO Unable to open this mailbox.', 'RENDEZVOUS_UNREACHABLE'],
  ] as const) {
    test(`mailbox: '${reply}' to SELECT is ${code}, in the server's words`, async (t) => {
      const alice = await open(t, { imap: { SELECT: `% ${reply}` } }, { 'email-folder': 'Junk' })
      void receive(alice, session())
      const error = await postUntil(alice, taken(alice))
      assert.equal(error?.code, code, error?.message)
      assert.ok(error?.message.includes(reply.slice(3).replace(/\.$/, '')), error?.message)
    })
  }

  /** Delivers a mail that comes while the mailbox is watched. @param after resolves when it may come */
  const delivers = async (alice: Opened, folder = 'INBOX', uid = 7, after = async () => {}) => {
    const mailbox = session()
    const message = systemRandom(300)
    const label = { mailbox: mailboxName(mailbox), expires: systemClock.date() + 600_000 }
    const mail = writeMail(label, message, { from: BOB, to: ALICE, date: systemClock.date() })
    const received = receive(alice, mailbox)
    await after()
    alice.imap.put(folder, { uid, text: mail.text })
    assert.deepEqual(((await received) as { value: unknown }).value, message)
    await alice.close()
    assert.deepEqual(alice.imap.folders.get(folder), [])
  }

  for (const answer of [
    '* NAMESPACE NIL NIL NIL\r\n% OK done',
    '% OK none',
    '% NO not here',
    '* NAMESPACE ((NIL NIL)) NIL NIL\r\n% OK done',
    '% BAD what',
  ]) {
    test(`mailbox: the answer ${JSON.stringify(answer)} to NAMESPACE keeps nothing from being read`, async (t) => {
      await delivers(await open(t, { imap: { NAMESPACE: answer } }))
    })
  }

  test('mailbox: a server that counts UIDs in 31 bits is read', async (t) => {
    const alice = await open(t, {})
    alice.imap.highest = 2 ** 31 - 1
    await delivers(alice, 'INBOX', 2 ** 31 - 1)
  })

  test('mailbox: a server with the highest UIDs, without IDLE, that lists nothing, is read', async (t) => {
    const capability = '* CAPABILITY IMAP4rev1 UIDPLUS\r\n% OK done'
    await delivers(
      await open(t, { imap: { CAPABILITY: capability, LIST: '% NO no list', IDLE: '% BAD what' } }),
      'INBOX',
      2 ** 32 - 2,
    )
  })

  test('mailbox: a server that takes IDLE and tells nothing in it is asked', async (t) => {
    const alice = await open(t, {})
    alice.imap.mute = true
    await delivers(alice, 'INBOX', 7, async () => {
      while (alice.imap.times(/ IDLE/) === 0) await setTimeout(20)
    })
    assert.ok(alice.imap.times(/ NOOP/) > 0)
  })

  for (const answer of ['% NO [SERVERBUG] broken', '% BAD oh', 'cut', null]) {
    test(`mailbox: a folder of junk that answers ${JSON.stringify(answer)} keeps nothing from INBOX`, async (t) => {
      const alice = await open(t, {
        imap: {
          'SELECT Junk': answer,
          'STATUS Junk':
            answer === null ? null : '* STATUS Junk (MESSAGES 1 UIDNEXT 9 UIDVALIDITY 1)\r\n% OK done',
        },
      })
      void receive(alice, session())
      await alice.ready?.({ signal: AbortSignal.timeout(10_000) })
      while (alice.imap.times(/(?:SELECT|STATUS) "?Junk/) === 0) await setTimeout(20)
      if (answer === null) return // its deadline is that of every step
      await delivers(alice)
      assert.ok(alice.imap.times(/ SELECT "?Junk/) <= 1)
    })
  }
})
