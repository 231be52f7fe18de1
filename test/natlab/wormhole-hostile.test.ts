import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Endpoint, parseEndpoint } from '../../src/net/index.js'
import { skip } from './fixture.js'
import { type Capture, Lab, type Side } from './index.js'
import { PairingRig, type Process } from './pairing-rig.js'
import { spoof } from './spoofer.js'

const TRANSFER = fileURLToPath(new URL('../support/transfer.js', import.meta.url))
const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
/** Datagrams for each pair of endpoints in a round of the attack. */
const ROUND = 1000
const MEGABYTES = 20

describe('a tunnel under spoofed datagrams of somebody who does not see its path', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let a: Side
  let b: Side
  let accepter: Process
  let inviter: Process
  let capture: Capture
  /** Where each side is seen by the other. */
  let ends: readonly [Endpoint, Endpoint]
  /** Somebody uninvolved, whose address the spoofed datagrams name. */
  let victim: Endpoint

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
    // what anybody sends to a full cone arrives
    a = await lab.side('a', 'full-cone')
    b = await lab.side('b', 'full-cone')
    const service = b.spawn(process.execPath, [TRANSFER, 'serve', '127.0.0.1', '7000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    if (service.stdout) await once(service.stdout, 'data')
    accepter = await rig.accepter(b, BOB, ['--export=sink=7000'])
    inviter = rig.inviter(a, ALICE, BOB, ['--import=sink=7000'])
    await Promise.all([inviter.said(/tunnel up/), accepter.said(/tunnel up/)])
    const seen = await Promise.all([accepter, inviter].map((process) => process.said(/^punched in/)))
    const [alice, bob] = seen.map(({ msg }) => parseEndpoint(/ to (\S+) /.exec(msg)?.[1] ?? ''))
    assert.ok(alice && bob)
    ends = [alice, bob]
    victim = { address: lab.servers.addresses.at(-1) ?? '', port: 40_000 }
    capture = await lab.capture(lab.servers, `udp and dst host ${victim.address}`)
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  test('carries its bytes without a change, and stands', async () => {
    const [alice, bob] = ends
    const arrived = await lab.capture(a, `udp and src host ${victim.address}`)
    const attack = async (signal: AbortSignal) => {
      const pairs = [
        { source: bob, destination: alice },
        { source: alice, destination: bob },
        { source: victim, destination: alice },
        { source: victim, destination: bob },
        { source: { ...bob, port: bob.port ^ 1 }, destination: alice },
      ]
      do await spoof(lab.servers, ROUND, pairs)
      while (!signal.aborted)
    }
    const over = new AbortController()
    const attacking = attack(over.signal)
    for (let time = 0; time < 2; time++) {
      const words = [TRANSFER, 'send', '127.0.0.1', '7000', String(MEGABYTES)]
      const { stdout, stderr } = await a.exec(process.execPath, words)
      assert.equal(stdout, 'same\n', stderr)
    }
    over.abort()
    await attacking
    await arrived.stop()
    assert.ok(arrived.packets.length >= ROUND / 2, `${arrived.packets.length} came through the NAT`)
    for (const process of [inviter, accepter]) {
      assert.equal(times(process, /tunnel up/), 1, process.story())
      assert.equal(process.child.exitCode, null)
    }
  })

  test('answers nobody but its peer', async () => {
    await capture.stop()
    assert.deepEqual(capture.packets, [])
  })

  test('says nothing of it in the log, however many came', () => {
    for (const process of [inviter, accepter]) assert.ok(process.events.length < 200, process.story())
  })
})

/** How many lines of a log match. */
function times(process: Process, pattern: RegExp): number {
  return process.events.filter(({ msg }) => pattern.test(msg)).length
}
