import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { skip } from './fixture.js'
import { Lab, SERVER_PREFIX, type Side } from './index.js'
import { PairingRig, type Process } from './pairing-rig.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const CAROL = 'carol@px.test/phone'

describe('what a person is told about real NATs', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let alice: Side
  let bob: Side
  let symmetricAlice: Side
  let symmetricBob: Side
  /** Two servers on different addresses: what one alone says tells nothing of the NAT. */
  let stun: string

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB, CAROL])
    const spared = { spared: [SERVER_PREFIX] }
    alice = await lab.side('alice', 'port-restricted', spared)
    bob = await lab.side('bob', 'port-restricted', spared)
    symmetricAlice = await lab.side('salice', 'symmetric', spared)
    symmetricBob = await lab.side('sbob', 'symmetric', spared)
    stun = `--stun-server=${rig.stunServer},${lab.servers.addresses[1]}:3479`
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  /** The flags of a ping, a check: those of a pairing without its command. */
  function flags(host: string, more: readonly string[] = []): string[] {
    return rig
      .flags(host, ['--log-level=warning', stun, ...more])
      .filter((flag) => !flag.startsWith('--exec-'))
  }

  test('a ping goes the way of a pairing while a command runs, and leaves it alone', async () => {
    const waiting = ['--exec-command=/bin/sleep', '--exec-args=60', stun]
    const accepter = await rig.accepter(bob, BOB, waiting)
    const inviter = rig.inviter(alice, ALICE, BOB, waiting)
    await accepter.said(/^the command runs/)
    const ping = rig.run(alice, ['ping', BOB, ...flags(ALICE)])
    assert.equal(await ping.ended, 0, ping.story())
    const told = ping.lines.join('\n')
    assert.match(told, /^answer over +dht:/m)
    assert.match(told, /invite posted after \d+ ms/)
    assert.match(told, /reflexive [\d.:]+: checked after \d+ ms.* proven after .* round trip/)
    assert.match(told, new RegExp(`^path .* to ${bob.publicAddress}:\\d+ \\(reflexive\\)`, 'm'))
    assert.match(told, /^round trip +min .* 5 of 5 echoes came back, 0% lost/m)
    assert.match(told, /^your NAT .*endpoint-independent/m)
    await accepter.said(/ping over: 5 echoes answered/)
    assert.equal(accepter.events.filter(({ msg }) => /the command exited/.test(msg)).length, 0)
    await Promise.all([inviter.stop(), accepter.stop()])
  })

  test('a ping of a peer that is not there fails, and says how far it came', async () => {
    const ping = rig.run(alice, ['ping', CAROL, ...flags(ALICE, ['--timeout=3'])])
    assert.equal(await ping.ended, 1)
    assert.match(ping.lines.join('\n'), /local addresses known after[\s\S]*\[PEER_SILENT\]/)
  })

  test('two symmetric NATs are named as the reason on both sides', async () => {
    const short = [stun, '--timeout=6']
    const accepter: Process = await rig.accepter(symmetricBob, BOB, short)
    const inviter = rig.inviter(symmetricAlice, ALICE, BOB, short)
    assert.equal(await inviter.ended, 1)
    assert.match(
      inviter.lines.join('\n'),
      /symmetric NAT with random ports on both sides.*\[NO_PATH\]/,
      inviter.story(),
    )
    const failed = await accepter.said(/^the pairing failed: .*symmetric NAT with random ports on both sides/)
    assert.equal(failed.code, 'NO_PATH')
    await accepter.stop()
  })

  test('-v tells the story of every candidate, under one session id on both sides', async () => {
    const loud = [stun, '--log-level=debug']
    const accepter = await rig.accepter(bob, BOB, loud)
    const args = rig.flags(ALICE, [stun]).filter((flag) => !flag.startsWith('--log-level'))
    const inviter = rig.run(alice, [...args, `--peer-info=${BOB}`, '-v'])
    assert.equal(await inviter.ended, 0, inviter.story())
    const session = inviter.events.find((event) => event.session !== undefined)?.session
    const story = inviter.events.filter(({ msg }) => /^candidate /.test(msg))
    assert.ok(story.some(({ msg }) => /^candidate reflexive .*: checked after .* nominated after/.test(msg)))
    assert.ok(story.some(({ msg }) => /^candidate host .*: checked after .* never heard/.test(msg)))
    // what a rendezvous and the start do for themselves has no session
    const own = (msg: string) =>
      !/^in the DHT|^announced|^notified in the DHT|^your NAT|^For all peers together/.test(msg)
    const nameless = inviter.events.filter((event) => event.session !== session && own(event.msg))
    assert.deepEqual(nameless, [])
    await accepter.said(/^the command exited/, session)
    const begun = accepter.events.findIndex(({ msg }) => /^invited by/.test(msg))
    const theirs = accepter.events.slice(begun)
    assert.deepEqual(
      theirs.filter((event) => event.session !== session && own(event.msg)),
      [],
    )
    await accepter.stop()
  })

  test('a check tells a symmetric NAT from one that can be punched, and fails of neither', async () => {
    for (const [side, kind] of [
      [alice, 'endpoint-independent'],
      [symmetricAlice, 'symmetric'],
    ] as const) {
      const check = rig.run(side, ['check', ...flags(ALICE, [`--peer-info=${BOB}`])])
      assert.equal(await check.ended, 0, check.story())
      assert.match(check.lines.join('\n'), new RegExp(`NAT \\(IPv4\\) +${kind}: `))
    }
  })
})
