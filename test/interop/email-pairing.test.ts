import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { formatEndpoint, silent } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { MailServer, mailServerMissing } from '../support/mail-server.js'
import { Program } from '../support/program.js'
import { ROOT } from '../support/readme.js'

const [ALICE, BOB] = ['alice@example.com', 'bob@example.com']
const [INVITER, ACCEPTER] = [`${ALICE}/laptop`, `${BOB}/server`]
/** How many pairings this suite runs; `bench/email.ts` runs more, through NATs. */
const RUNS = 3

describe('two processes over Postfix and Dovecot', { skip: mailServerMissing() }, () => {
  let server: MailServer
  let stun: StunServer
  const directory = mkdtempSync(join(tmpdir(), 'plexus-email-'))
  const repository = join(directory, 'repo')

  before(async () => {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    for (const name of [INVITER, ACCEPTER]) await createIdentity(repository, parseIdentity(name), options)
    server = await MailServer.start([ALICE, BOB])
    stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
  })
  after(async () => {
    await stun?.close()
    await server?.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  const args = (host: string, user: string, changes: Readonly<Record<string, string | undefined>> = {}) => {
    const [endpoint] = stun.endpoints
    const { 'email-password': _, ...options } = server.options(user, changes)
    return [
      `--app-repo=${repository}`,
      `--state-dir=${join(directory, user)}`,
      `--host-info=${host}`,
      `--stun-server=${endpoint ? formatEndpoint(endpoint) : ''}`,
      '--rendezvous=email:',
      ...Object.entries(options).flatMap(([name, value]) =>
        value === undefined ? [] : [`--${name}=${value}`],
      ),
    ]
  }
  const env = { PLEXUS_OPT_EMAIL_PASSWORD: 'secret' }

  test(`pair ${RUNS} times, and nothing of it stays in a mailbox`, async (t) => {
    const accepter = new Program(['--accept', ...args(ACCEPTER, BOB)], { env })
    try {
      await accepter.said(/ready for invites/)
      const times: number[] = []
      for (let run = 0; run < RUNS; run++) {
        const began = performance.now()
        const inviter = new Program([`--peer-info=${ACCEPTER}`, ...args(INVITER, ALICE)], { env })
        const { code, stderr } = await inviter.ended
        assert.equal(code, 0, stderr)
        times.push(performance.now() - began)
        if (run === 0) t.diagnostic(stderr)
      }
      times.sort((a, b) => a - b)
      t.diagnostic(
        `start to end of the inviter, ms: median ${times[Math.floor(RUNS / 2)]?.toFixed(0)}, all ${times.map((ms) => ms.toFixed(0)).join(' ')}`,
      )
      // what it has read it removes while it runs: a server may take longer for that than an end can wait
      for (let tries = 0; server.mails(BOB).length > 0 && tries < 400; tries++) await setTimeout(50)
    } finally {
      const { stderr } = await accepter.end()
      t.diagnostic(stderr.split('\n').slice(0, 12).join('\n'))
    }
    assert.deepEqual(server.mails(ALICE), [])
    assert.deepEqual(server.mails(BOB), [])
  })

  test('a wrong password ends an inviter with 2; an accepter says so once and stays', async () => {
    const wrong = { PLEXUS_OPT_EMAIL_PASSWORD: 'wrong' }
    const inviter = new Program([`--peer-info=${ACCEPTER}`, ...args(INVITER, ALICE)], { env: wrong })
    const { code, stderr } = await inviter.ended
    assert.equal(code, 2, stderr)
    assert.match(stderr, /rejected the login.*\[EMAIL_LOGIN\]/)
    assert.doesNotMatch(stderr, /wrong/)
    const accepter = new Program(['--accept', ...args(ACCEPTER, BOB)], { env: wrong })
    await accepter.said(/rejected the login/)
    assert.equal(accepter.process.exitCode, null)
    assert.equal(accepter.times(/rejected the login/), 1)
    await accepter.end()
  })

  test('a certificate of an unknown authority ends an inviter with 2', async () => {
    const words = args(INVITER, ALICE, { 'email-ca': undefined })
    const { code, stderr } = await new Program([`--peer-info=${ACCEPTER}`, ...words], { env }).ended
    assert.equal(code, 2, stderr)
    assert.match(stderr, /is not trusted.*\[EMAIL_CERTIFICATE\]/)
  })

  test('the account of docs/email.md, with the servers here, carries a message', async () => {
    const password = join(directory, 'password')
    writeFileSync(password, 'secret\n', { mode: 0o600 })
    const here = {
      rendezvous: 'email:',
      'email-smtps': `localhost:${server.ports.smtps}`,
      'email-imaps': `localhost:${server.ports.imaps}`,
      'email-login': BOB,
      'email-password-file': password,
    }
    for (const page of ['docs/email.md']) {
      const [, example = ''] =
        /```ini\n(rendezvous[\s\S]*?)```/.exec(readFileSync(join(ROOT, page), 'utf8')) ?? []
      const lines = example.trim().split('\n')
      assert.deepEqual(lines.map((line) => line.split(' = ')[0]).sort(), Object.keys(here).sort(), page)
      assert.ok(example.includes('rendezvous = email:') && example.includes(`email-login = ${BOB}`), page)
    }
    const config = join(directory, 'plexus.conf')
    const lines = Object.entries(here).map(([name, value]) => `${name} = ${value}\n`)
    writeFileSync(config, `${lines.join('')}email-ca = ${server.ca}\n`, { mode: 0o600 })
    const [repo, state, host, stunServer] = args(ACCEPTER, BOB)
    const words = ['check', repo, state, host, stunServer, `--config=${config}`].filter(
      (word) => word !== undefined,
    )
    const { stdout, stderr } = await new Program(words).ended
    assert.match(stdout + stderr, /email:bob@example\.com carried a message/)
  })

  test('names that cannot be resolved for a while keep nobody from pairing', {
    skip: noNamespaces(),
  }, async () => {
    const hosts = join(directory, 'hosts')
    const [known, unknown] = ['127.0.0.1 localhost mail.example.com\n', '127.0.0.1 localhost\n']
    writeFileSync(hosts, unknown)
    writeFileSync(join(directory, 'resolv.conf'), 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
    const mounts = `mount --bind '${hosts}' /etc/hosts && mount --bind '${directory}/resolv.conf' /etc/resolv.conf`
    const under = ['unshare', '--mount', 'sh', '-c', `${mounts} && exec "$0" "$@"`]
    const named = {
      'email-smtps': `mail.example.com:${server.ports.smtps}`,
      'email-imaps': `mail.example.com:${server.ports.imaps}`,
    }
    const accepter = new Program(['--accept', ...args(ACCEPTER, BOB, named)], { env, under })
    const words = [`--peer-info=${ACCEPTER}`, '--log-level=debug', ...args(INVITER, ALICE, named)]
    const inviter = new Program(words, { env, under })
    try {
      await accepter.said(/the mailbox cannot be read, retrying: .*mail\.example\.com/)
      await inviter.said(/sending failed, retrying/)
      writeFileSync(hosts, known)
      const { code, stderr } = await inviter.ended
      assert.equal(code, 0, stderr)
      assert.equal(accepter.times(/cannot be read/), 1)
    } finally {
      await accepter.end()
    }
  })
})

/** Why a process cannot have files of its own in place of the system's, if it cannot. */
function noNamespaces(): string | false {
  return spawnSync('unshare', ['--mount', 'true']).status === 0 ? false : 'mount namespaces are not allowed'
}
