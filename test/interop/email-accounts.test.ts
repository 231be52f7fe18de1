import assert from 'node:assert/strict'
import { once } from 'node:events'
import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type Mailbox, openRendezvous, type Rendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { freePorts, MailServer, mailServerMissing } from '../support/mail-server.js'
import { contextFor, recorder, temporaryDirectory } from '../unit/rendezvous.js'

const [ALICE, BOB, FULL] = ['alice@example.com', 'bob@example.com', 'full@example.com']

describe('accounts of email', { skip: mailServerMissing() }, () => {
  let server: MailServer
  before(async () => {
    server = await MailServer.start([ALICE, BOB, FULL])
  })
  after(() => server?.stop())

  type Options = Parameters<MailServer['options']>[1]

  const open = async (t: TestContext, user: string, changes: Options = {}, environment = {}) => {
    const { log, lines } = recorder()
    const context = { ...contextFor(t, server.options(user, changes), log), environment }
    const rendezvous = await openRendezvous(['email:'], context)
    t.after(() => rendezvous.close())
    return Object.assign(rendezvous, { lines })
  }
  const mailboxOf = (user: string): Mailbox => ({
    kind: 'session',
    app: 'test',
    identity: `${user}/1`,
    seed: systemRandom(32),
  })
  const post = (rendezvous: Rendezvous, to: Mailbox, sealed: Uint8Array, from = ALICE) =>
    rendezvous.post(
      { to, from: `${from}/1`, session: systemRandom(16), expires: systemClock.date() + 600_000 },
      sealed,
      { signal: AbortSignal.timeout(60_000) },
    )
  /** A message from an account to itself: both servers take it. */
  const roundTrip = async (rendezvous: Rendezvous, user: string) => {
    const [mailbox, message] = [mailboxOf(user), systemRandom(500)]
    const messages = rendezvous
      .receive(mailbox, { signal: AbortSignal.timeout(60_000) })
      [Symbol.asyncIterator]()
    await post(rendezvous, mailbox, message, user)
    assert.deepEqual((await messages.next()).value, message)
  }

  test('a command gives the password anew at every login', async (t) => {
    const directory = temporaryDirectory(t)
    const [script, record] = [join(directory, 'password'), join(directory, 'record')]
    writeFileSync(script, `#!/bin/sh\necho run >>'${record}'\necho secret\n`, { mode: 0o700 })
    appendFileSync(record, '')
    const runs = () => readFileSync(record, 'utf8').split('\n').length - 1
    const alice = await open(t, ALICE, { 'email-password': undefined, 'email-password-command': script })
    await roundTrip(alice, ALICE)
    assert.equal(runs(), 2) // one for each server
    server.kick(ALICE)
    await roundTrip(alice, ALICE)
    assert.equal(runs(), 4)
  })

  test('a command that says 75 is asked again; any other failure is told', async (t) => {
    const directory = temporaryDirectory(t)
    const [script, token] = [join(directory, 'password'), join(directory, 'token')]
    writeFileSync(script, `#!/bin/sh\ncat '${token}' 2>/dev/null || exit 75\n`, { mode: 0o700 })
    const alice = await open(t, ALICE, { 'email-password': undefined, 'email-password-command': script })
    const mailbox = mailboxOf(ALICE)
    const messages = alice.receive(mailbox, { signal: AbortSignal.timeout(60_000) })[Symbol.asyncIterator]()
    const message = systemRandom(100)
    const posted = post(alice, mailbox, message)
    writeFileSync(token, 'secret\n')
    await posted
    assert.deepEqual((await messages.next()).value, message)
    const other = await open(t, ALICE, {
      'email-password': undefined,
      'email-password-command': '/bin/false',
    })
    await assert.rejects(post(other, mailbox, message), { code: 'EMAIL_LOGIN', message: /\(1\)/ })
  })

  test('files with secrets that others can read are refused', async (t) => {
    const file = join(temporaryDirectory(t), 'password')
    writeFileSync(file, 'secret\n')
    chmodSync(file, 0o640)
    const alice = await open(t, ALICE, { 'email-password': undefined, 'email-password-file': file })
    await assert.rejects(post(alice, mailboxOf(ALICE), systemRandom(10)), {
      code: 'KEY_READABLE',
      message: /mode 0640/,
    })
    const [cert, key] = [join(server.directory, 'client.pem'), join(server.directory, 'server.key')]
    await assert.rejects(open(t, ALICE, { 'email-cert': cert, 'email-key': key }), { code: 'KEY_READABLE' })
    const other = join(server.directory, 'ca.key')
    await assert.rejects(open(t, ALICE, { 'email-cert': cert, 'email-key': other }), { code: 'BAD_FLAG' })
    await assert.rejects(open(t, ALICE, { 'email-cert': cert }), { code: 'BAD_FLAG' })
    await assert.rejects(open(t, ALICE, { 'email-ca': other }), { code: 'BAD_FLAG' })
  })

  test("without --email-ca the system's authorities count, and no others", async (t) => {
    const unknown = await open(t, ALICE, { 'email-ca': undefined })
    await assert.rejects(post(unknown, mailboxOf(ALICE), systemRandom(10)), { code: 'EMAIL_CERTIFICATE' })
    for (const name of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS'])
      await roundTrip(await open(t, ALICE, { 'email-ca': undefined }, { [name]: server.ca }), ALICE)
  })

  test('an authority that is exchanged while the program runs is read anew', async (t) => {
    const ca = join(temporaryDirectory(t), 'ca.pem')
    writeFileSync(ca, readFileSync('/etc/ssl/certs/ca-certificates.crt'))
    const alice = await open(t, ALICE, { 'email-ca': ca })
    await assert.rejects(post(alice, mailboxOf(ALICE), systemRandom(10)), { code: 'EMAIL_CERTIFICATE' })
    writeFileSync(ca, readFileSync(server.ca))
    await roundTrip(alice, ALICE)
  })

  test('servers that want a certificate of the client are shown it', async (t) => {
    await server.reconfigure({
      dovecot: `ssl_ca = <${server.ca}\nssl_require_crl = no\nssl_verify_client_cert = yes\nprotocol imap {\n auth_ssl_require_client_cert = yes\n}\n`,
      postfix: [`smtpd_tls_CAfile = ${server.ca}`, 'smtpd_tls_req_ccert = yes'],
    })
    const own = {
      'email-cert': join(server.directory, 'client.pem'),
      'email-key': join(server.directory, 'client.key'),
    }
    await roundTrip(await open(t, ALICE, own), ALICE)
    const without = await open(t, ALICE)
    without.receive(mailboxOf(ALICE), { signal: AbortSignal.timeout(60_000) })
    await assert.rejects(without.ready?.({ signal: AbortSignal.timeout(2000) }) ?? Promise.resolve())
    assert.match(without.lines.map(({ message }) => message).join('\n'), /the mailbox cannot be read/)
  })

  test('a token logs in by XOAUTH2 at both servers', async (t) => {
    const http = createServer((request, response) => {
      const good = new URL(request.url ?? '', 'http://here').searchParams.get('access_token') === 'good'
      response.writeHead(good ? 200 : 401, { 'content-type': 'application/json' })
      response.end(JSON.stringify(good ? { email: ALICE, expires_in: 3600 } : { error: 'invalid_token' }))
    })
    await once(http.listen(0, '127.0.0.1'), 'listening')
    t.after(() => http.close())
    const { port } = http.address() as AddressInfo
    const settings = join(server.directory, 'oauth2.conf.ext')
    writeFileSync(
      settings,
      `tokeninfo_url = http://127.0.0.1:${port}/?access_token=\nusername_attribute = email\n`,
    )
    await server.reconfigure({
      dovecot: `auth_mechanisms = plain xoauth2\npassdb {\n driver = oauth2\n mechanisms = xoauth2\n args = ${settings}\n}\n`,
    })
    const file = join(temporaryDirectory(t), 'token')
    writeFileSync(file, 'good\n', { mode: 0o600 })
    const alice = await open(t, ALICE, { 'email-password': undefined, 'email-token-file': file })
    await roundTrip(alice, ALICE)
    const log = readFileSync(join(server.directory, 'dovecot.log'), 'utf8')
    assert.match(log, /imap-login: Info: Login: user=<alice@example\.com>, method=XOAUTH2/)
    writeFileSync(file, 'bad\n')
    const refused = await open(t, ALICE, { 'email-password': undefined, 'email-token-file': file })
    await assert.rejects(post(refused, mailboxOf(ALICE), systemRandom(10)), { code: 'EMAIL_LOGIN' })
  })

  test('a server without IDLE is asked instead', async (t) => {
    await server.reconfigure({
      dovecot: 'imap_capability = IMAP4rev1 SASL-IR LITERAL+ ENABLE UIDPLUS SPECIAL-USE\n',
    })
    const alice = await open(t, ALICE)
    await roundTrip(alice, ALICE)
    await alice.close()
    assert.deepEqual(server.mails(ALICE), [])
  })

  test('a message to a mailbox over quota is handed in when there is room again', async (t) => {
    const [policy] = await freePorts(1)
    await server.reconfigure({
      dovecot: `mail_plugins = quota
service quota-status {
 executable = quota-status -p postfix
 inet_listener {
  address = 127.0.0.1
  port = ${policy}
 }
 client_limit = 1
}
plugin {
 quota = count:User quota
 quota_vsizes = yes
 quota_rule = *:storage=64k
 quota_grace = 0
 quota_status_success = DUNNO
 quota_status_nouser = DUNNO
 quota_status_overquota = 552 5.2.2 Mailbox is full
}
`,
      postfix: [`smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:${policy}`],
    })
    server.append(FULL, 'INBOX', `Subject: large\r\n\r\n${'x'.repeat(80_000)}\r\n`, ['-o', 'mail_plugins='])
    const [alice, full, mailbox, message] = [
      await open(t, ALICE),
      await open(t, FULL),
      mailboxOf(FULL),
      systemRandom(4000),
    ]
    const messages = full.receive(mailbox, { signal: AbortSignal.timeout(60_000) })[Symbol.asyncIterator]()
    const posted = post(alice, mailbox, message)
    await until(() => alice.lines.some(({ message }) => /retrying.*5\.2\.2/.test(message)))
    server.doveadm('expunge', '-u', FULL, 'mailbox', 'INBOX', 'ALL')
    await posted
    assert.deepEqual((await messages.next()).value, message)
  })
})

/** Looks again and again until it is so. */
async function until(look: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(20_000)
  while (!look()) await setTimeout(20, undefined, { signal })
}
