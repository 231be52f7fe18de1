import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { MailServer, mailServerMissing } from '../support/mail-server.js'
import { skip } from './fixture.js'
import { Lab, SERVER_PREFIX, type Side } from './index.js'
import { PairingRig, type Process } from './pairing-rig.js'

const [ALICE, BOB] = ['alice@example.com', 'bob@example.com']
const [INVITER, ACCEPTER] = [`${ALICE}/laptop`, `${BOB}/server`]
const BOTH = ['--rendezvous=dht:', '--rendezvous=email:']

describe('over email, through real NATs', { skip: skip || mailServerMissing() }, () => {
  let lab: Lab
  let rig: PairingRig
  let mail: MailServer
  let [from, to]: Side[] = []

  before(async () => {
    lab = await Lab.open()
    mail = await MailServer.start([ALICE, BOB], MailServer.inside(lab.servers, lab.servers.addresses[0]))
    rig = await PairingRig.open(lab, [INVITER, ACCEPTER])
    from = await lab.side('a', 'port-restricted', { spared: [SERVER_PREFIX] })
    to = await lab.side('b', 'port-restricted', { spared: [SERVER_PREFIX] })
  })
  after(async () => {
    await rig?.close()
    await mail?.stop()
    await lab?.close()
  })

  /** Pairs with these rendezvous, and tells over which the inviter got rid of its invite first. */
  async function pair(flags: readonly string[], accepter: Process): Promise<string> {
    assert.ok(from)
    const inviter = rig.inviter(from, INVITER, ACCEPTER, [...flags, ...mail.flags(ALICE)])
    const outcome = await rig.outcome(inviter, accepter)
    assert.ok(outcome.paired, outcome.story)
    return inviter.events.find(({ msg }) => msg === 'posted')?.rendezvous ?? ''
  }
  const accepting = async (flags: readonly string[]) => {
    assert.ok(to)
    return await rig.accepter(to, ACCEPTER, [...flags, ...mail.flags(BOB)])
  }

  test('two port-restricted sides pair, and nothing of it stays in a mailbox', async () => {
    const accepter = await accepting(['--rendezvous=email:'])
    await pair(['--rendezvous=email:'], accepter)
    await accepter.stop()
    for (const user of [ALICE, BOB]) assert.deepEqual(mail.mails(user), [])
  })

  test('beside the DHT: the DHT carries where both work, and each where the other is dead', async () => {
    const accepter = await accepting(BOTH)
    assert.match(await pair(BOTH, accepter), /^dht:/)
    await mail.stopPostfix()
    await mail.stopDovecot()
    assert.match(await pair(BOTH, accepter), /^dht:/)
    await accepter.stop()

    await mail.startDovecot()
    await mail.startPostfix()
    const other = await accepting(BOTH)
    await Promise.all(rig.nodes.map((node) => node.stop('SIGKILL')))
    assert.match(await pair(BOTH, other), /^email:/)
    await other.stop()
  })
})
