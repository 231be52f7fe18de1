import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { formatEndpoint, silent } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { MAILBOX_SERVERS, MailChoice, mailChoiceMissing, SUBMISSION_SERVERS } from '../support/mail-choice.js'
import { Program } from '../support/program.js'

describe('pairing over mail servers of every make', { skip: mailChoiceMissing(), concurrency: 3 }, () => {
  let servers: MailChoice
  let stun: StunServer
  const directory = mkdtempSync(join(tmpdir(), 'plexus-makes-'))
  const repository = join(directory, 'repo')
  const all = MAILBOX_SERVERS.flatMap((mailbox) =>
    SUBMISSION_SERVERS.map((submission) => ({ mailbox, submission, name: `${submission}-${mailbox}` })),
  )
  const identity = (name: string, { mailbox }: { mailbox: (typeof MAILBOX_SERVERS)[number] }) =>
    `${servers.address(name, mailbox)}/1`

  before(async () => {
    // a mailbox of its own for each side of each pair
    servers = await MailChoice.start(all.flatMap(({ name }) => [`alice-${name}`, `bob-${name}`]))
    stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    for (const pair of all)
      for (const side of ['alice', 'bob'])
        await createIdentity(repository, parseIdentity(identity(`${side}-${pair.name}`, pair)), options)
  })
  after(async () => {
    await stun?.close()
    await servers?.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  for (const pair of all) {
    const { submission, mailbox, name } = pair
    test(`${submission} hands in, ${mailbox} gives out`, async (t) => {
      const [endpoint] = stun.endpoints
      const args = (side: string) => [
        `--app-repo=${repository}`,
        `--state-dir=${join(directory, `${side}-${name}`)}`,
        `--host-info=${identity(`${side}-${name}`, pair)}`,
        `--peer-info=${identity(`${side === 'alice' ? 'bob' : 'alice'}-${name}`, pair)}`,
        `--stun-server=${endpoint ? formatEndpoint(endpoint) : ''}`,
        '--rendezvous=email:',
        ...servers.flags(`${side}-${name}`, submission, mailbox),
      ]
      const accepter = new Program(['--accept', ...args('bob')])
      try {
        await accepter.said(/ready for invites/)
        const began = performance.now()
        const { code, stderr } = await new Program(args('alice')).ended
        assert.equal(code, 0, `${stderr}\n${accepter.stderr}`)
        t.diagnostic(`${Math.round(performance.now() - began)} ms`)
        assert.doesNotMatch(accepter.stderr, /cannot be read|skipping the folder/)
      } finally {
        await accepter.end()
      }
    })
  }
})
