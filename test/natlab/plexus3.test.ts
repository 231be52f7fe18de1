import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { MailServer, mailServerMissing } from '../support/mail-server.js'
import { Plexus3Peer, plexus3PeerMissing } from '../support/plexus3-peer.js'
import { skip } from './fixture.js'
import { Lab, SERVER_PREFIX, type Side } from './index.js'
import { PairingRig } from './pairing-rig.js'

const [THEIR_BOX, OUR_BOX] = ['alice@example.com', 'bob@example.com']
const [THEIRS, OURS] = [`${THEIR_BOX}/laptop`, `${OUR_BOX}/server`]
const missing = skip || mailServerMissing() || plexus3PeerMissing()

describe('with a plexus-3 peer, through two real port-restricted NATs', { skip: missing }, () => {
  let lab: Lab
  let rig: PairingRig
  let mail: MailServer
  let near: Side
  let far: Side

  before(async () => {
    lab = await Lab.open()
    const { servers } = lab
    const [address = ''] = servers.addresses
    mail = await MailServer.start([THEIR_BOX, OUR_BOX], {
      at: { address, spawn: (command, args, options) => servers.spawn(command, args, options) },
      postfix: ['smtpd_peername_lookup = no'], // there is no DNS to ask
    })
    rig = await PairingRig.open(lab, [])
    for (const name of [THEIRS, OURS]) {
      const options = { key: 'rsa', random: systemRandom, date: systemClock.date() } as const
      await createIdentity(rig.repository, parseIdentity(name), options)
    }
    near = await lab.side('a', 'port-restricted', { spared: [SERVER_PREFIX] })
    far = await lab.side('b', 'port-restricted', { spared: [SERVER_PREFIX] })
  })
  after(async () => {
    await rig?.close()
    await mail?.stop()
    await lab?.close()
  })

  const flags = () => [
    '--rendezvous=email:',
    '--exec-command=/bin/sh',
    "--exec-args=-c 'echo secret is $PLEXUS_SECRET'",
    ...Object.entries(mail.options(OUR_BOX)).map(([name, value]) => `--${name}=${value}`),
  ]
  const peer = (role: 'inviter' | 'accepter') => {
    const {
      'email-smtps': smtp = '',
      'email-imaps': imap = '',
      'email-ca': ca = '',
    } = mail.options(THEIR_BOX)
    const words = [
      ...['--repo', rig.repository, '--me', THEIRS, '--peer', OURS, '--app', 'lab'],
      ...['--bind', '0.0.0.0:0', '--stun', rig.stunServer],
      ...['--smtp', smtp, '--imap', imap, '--ca', ca],
      ...['--login', THEIR_BOX, '--password-env', 'MAIL_PASSWORD'],
    ]
    return new Plexus3Peer(role, words, { MAIL_PASSWORD: 'secret' }, (command, args, options) =>
      far.spawn(command, args, options),
    )
  }

  test('it invites, and both have a hole and one secret', async () => {
    const accepter = await rig.accepter(near, OURS, ['--dialect=auto', ...flags()])
    const other = peer('inviter')
    try {
      await other.hears('posted')
      const { secret } = await other.hears('paired')
      await accepter.said(/^the command exited/)
      assert.ok(accepter.lines.includes(`secret is ${secret}`), accepter.story())
    } finally {
      await other.close()
      await accepter.stop()
    }
  })

  test('it accepts, and both have a hole and one secret', async () => {
    const other = peer('accepter')
    try {
      await other.hears('waiting')
      const inviter = rig.inviter(near, OURS, THEIRS, ['--dialect=plexus-3', ...flags()])
      await other.hears('posted')
      const { secret } = await other.hears('paired')
      assert.equal(await inviter.ended, 0, inviter.story())
      assert.ok(inviter.lines.includes(`secret is ${secret}`), inviter.story())
    } finally {
      await other.close()
    }
  })
})
