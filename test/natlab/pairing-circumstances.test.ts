import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/cli/clock.js'
import { sleep } from '../../src/net/index.js'
import { patience, skip } from './fixture.js'
import { Lab, type Packet, type Side } from './index.js'
import { type Outcome, PairingRig, type Process } from './pairing-rig.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const CAROL = 'carol@px.test/phone'

/** What the punch sends: everything that STUN, DHT and the commands do not. */
const HOPS = 7

describe('behind port-restricted NATs', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let a: Side
  let b: Side
  let c: Side

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB, CAROL])
    a = await lab.side('a', 'port-restricted', { ipv6: true })
    b = await lab.side('b', 'port-restricted', { ipv6: true })
    c = await lab.side('c', 'port-restricted')
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  test('an inviter that starts 5 s before the accepter pairs', async () => {
    const inviter = rig.inviter(a, ALICE, BOB)
    await inviter.said(/^inviting/)
    await sleep(systemClock, 5000)
    const accepter = await rig.accepter(b, BOB)
    const outcome = await rig.outcome(inviter, accepter)
    assert.ok(outcome.paired, outcome.story)
    await accepter.stop()
  })

  test('two inviters at once both pair', async () => {
    const accepter = await rig.accepter(b, BOB)
    const outcomes = await Promise.all([rig.pair(a, ALICE, BOB, accepter), rig.pair(c, CAROL, BOB, accepter)])
    for (const outcome of outcomes) assert.ok(outcome.paired, outcome.story)
    await accepter.stop()
  })

  test('two that invite each other end with one pairing, the lower session of the two', async () => {
    const one = rig.inviter(a, ALICE, BOB)
    const two = rig.inviter(b, BOB, ALICE)
    const codes = await Promise.all([one.ended, two.ended])
    assert.deepEqual(codes, [0, 0], `${one.story()}\n${two.story()}`)
    const own = [one, two].map((side) => side.events.find(({ msg }) => /^inviting/.test(msg))?.session)
    const passed = [one, two].map(
      (side) => side.events.find(({ msg }) => /^the command runs/.test(msg))?.session,
    )
    const lower = own.sort()[0]
    assert.deepEqual(passed, [lower, lower])
  })

  test('one identity that invites twice at once has one clear outcome, the same on both sides', async () => {
    const accepter = await rig.accepter(b, BOB)
    const inviters = [rig.inviter(a, ALICE, BOB), rig.inviter(a, ALICE, BOB)]
    const codes = await Promise.all(inviters.map((inviter) => inviter.ended))
    for (const inviter of inviters) {
      const session = inviter.events.find((event) => event.session)?.session
      const told = accepter.events.filter((event) => event.session === session).map(({ msg }) => msg)
      const theirs = told.some((msg) => /^the command runs/.test(msg))
      const ours = inviter.events.some(({ msg }) => /^the command runs/.test(msg))
      const story = `${inviter.story()}\n${accepter.story()}`
      assert.equal(ours, theirs, story)
      if (!ours)
        assert.match(inviter.lines.join('\n'), /a newer invite of the same identity|BUSY|PEER_ABORTED/, story)
    }
    assert.ok(codes.includes(0), inviters.map((inviter) => inviter.story()).join('\n'))
    await accepter.stop()
  })

  test('an inviter that is stopped tells the accepter so', async () => {
    const accepter = await rig.accepter(b, BOB)
    // nobody can be punched there: the accepter is still at it when the inviter is stopped
    await lab.loss(100)
    const inviter = rig.inviter(a, ALICE, BOB)
    await inviter.said(/^punching towards/)
    await inviter.stop('SIGINT')
    const session = inviter.events.find((event) => event.session)?.session
    await accepter.said(/^the pairing failed: .* gave up: Stopped by SIGINT/, session)
    await lab.loss(0)
    await accepter.stop()
  })

  test('20% loss is survived', async () => {
    const accepter = await rig.accepter(b, BOB)
    await lab.loss(20)
    for (let time = 0; time < 5; time++) {
      const outcome = await rig.pair(a, ALICE, BOB, accepter)
      assert.ok(outcome.paired, outcome.story)
    }
    await lab.loss(0)
    await accepter.stop()
  })

  test('the opening packets of the accepter die on the way, in IPv4 and IPv6', async () => {
    const leaving = await lab.capture(b.border, 'udp')
    const arriving = await lab.capture(a.border, 'udp')
    const accepter = await rig.accepter(b, BOB, [
      `--stun-server=${rig.stunServer6}`,
      `--stun-server=${rig.stunServer}`,
    ])
    const outcome = await rig.pair(a, ALICE, BOB, accepter, [
      `--stun-server=${rig.stunServer6}`,
      `--stun-server=${rig.stunServer}`,
    ])
    assert.ok(outcome.paired, outcome.story)
    await accepter.stop()
    for (const family of [4, 6] as const) {
      const peer = family === 4 ? a.publicAddress : a.address6
      const own = family === 4 ? b.publicAddress : b.address6
      const towards = (packet: Packet) => packet.family === family && packet.destination.address === peer
      const low = await leaving.packet(
        (packet) => towards(packet) && packet.ttl === HOPS - b.nats.length,
        patience(),
      )
      const first = leaving.packets.find((packet) => towards(packet))
      assert.equal(first, low, 'the first packet to the peer is TTL-limited')
      const seen = arriving.packets.filter(
        (packet) => packet.family === family && packet.source.address === own,
      )
      assert.ok(
        seen.every(({ payload }) => !payload.equals(low.payload)),
        'and does not arrive',
      )
    }
    await Promise.all([leaving.stop(), arriving.stop()])
  })

  test('a command that binds 200 ms late still gets its data, and the mapping is fresh', async () => {
    const script = join(rig.directory, 'late.sh')
    await writeFile(script, `#!/bin/sh\nsleep 0.2\nexec ${process.execPath} ${rig.exchange} "$@"\n`, {
      mode: 0o755,
    })
    const late = [`--exec-command=${script}`, '--exec-args=%innerip% %innerport% %peerip% %peerport% late']
    const accepter = await rig.accepter(b, BOB, late)
    const outcome = await rig.pair(a, ALICE, BOB, accepter)
    assert.ok(outcome.paired, outcome.story)
    await accepter.stop()
  })

  test('an accepter is the same after many pairings as before', async () => {
    const accepter = await rig.accepter(b, BOB)
    const paired = async (times: number) => {
      for (let time = 0; time < times; time++) {
        const outcome: Outcome = await rig.pair(a, ALICE, BOB, accepter)
        assert.ok(outcome.paired, outcome.story)
      }
    }
    await paired(3)
    const before = descriptors(accepter)
    await paired(12)
    assert.deepEqual(descriptors(accepter), before)
    await accepter.stop()
  })

  test('a peer that pairs again has its command replaced once the new hole is proven', async () => {
    const waiting = ['--exec-command=/bin/sleep', '--exec-args=60']
    const accepter = await rig.accepter(b, BOB, waiting)
    const first = rig.inviter(a, ALICE, BOB, waiting)
    await first.said(/^the command runs/)
    const second = rig.inviter(a, ALICE, BOB, waiting)
    await second.said(/^the command runs/)
    const session = second.events.find((event) => event.session)?.session
    await accepter.said(/^the command runs/, session)
    assert.equal(accepter.events.filter(({ msg }) => /^the command exited by SIGTERM/.test(msg)).length, 1)
    await Promise.all([first.stop(), second.stop(), accepter.stop()])
  })

  test('a fixed port serves one pairing at a time, and others are told BUSY', async () => {
    const waiting = ['--exec-command=/bin/sleep', '--exec-args=60']
    const accepter = await rig.accepter(b, BOB, [...waiting, `--stun-client=${b.address}:40404`])
    const first = rig.inviter(a, ALICE, BOB, waiting)
    await first.said(/^the command runs/)
    const refused = rig.inviter(c, CAROL, BOB, waiting)
    assert.equal(await refused.ended, 1)
    assert.match(refused.lines.join('\n'), /BUSY/)
    await Promise.all([first.stop(), accepter.stop()])
  })
})

/** How many files, pipes and sockets a process holds. nsenter has become the program that it started. */
function descriptors(process: Process): number {
  return readdirSync(`/proc/${process.child.pid}/fd`).length
}
