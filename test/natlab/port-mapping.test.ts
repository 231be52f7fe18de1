import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { skip, until } from './fixture.js'
import { Lab, portMapperUnavailable, type Side } from './index.js'
import { pathOf } from './neighbourhood.js'
import { PairingRig } from './pairing-rig.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

describe('a router that maps ports', { skip: skip || (portMapperUnavailable() ?? false) }, () => {
  let lab: Lab
  let rig: PairingRig
  let plain: Side
  const routers: Record<string, Side> = {}

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
    plain = await lab.side('plain', 'symmetric')
    routers.UPnP = await lab.side('upnp', 'symmetric', { portMapper: 'upnp' })
    routers.PCP = await lab.side('pcp', 'symmetric', { portMapper: 'nat-pmp' })
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  function router(protocol: string) {
    const side = routers[protocol]
    if (!side) throw new Error(`nobody speaks ${protocol} here`)
    const mappings = () => lab.portMapper(side).mappings()
    /** Resolves when the router holds nothing any more. @param processes whose story tells why it does */
    const given = async (...processes: { story(): string }[]) => {
      try {
        await until(async () => (await mappings()).length === 0)
      } catch {
        const held = JSON.stringify(await mappings())
        assert.fail([held, ...processes.map((each) => each.story())].join('\n'))
      }
    }
    return { side, mappings, given }
  }

  for (const protocol of ['UPnP', 'PCP']) {
    test(`by ${protocol} on the inviter's side two random symmetric NATs pair, and it is given back`, async () => {
      const { side, given } = router(protocol)
      const accepter = await rig.accepter(plain, BOB)
      const outcome = await rig.pair(side, ALICE, BOB, accepter)
      assert.ok(outcome.paired, outcome.story)
      assert.match(outcome.story, new RegExp(`port mapping \\S+ by ${protocol}`))
      await accepter.stop()
      await given(accepter, { story: () => outcome.story })
    })

    test(`by ${protocol} on the accepter's side two random symmetric NATs pair, and it is given back`, async () => {
      const { side, given } = router(protocol)
      const accepter = await rig.accepter(side, BOB)
      const outcome = await rig.pair(plain, ALICE, BOB, accepter)
      assert.ok(outcome.paired, outcome.story)
      assert.equal(pathOf(outcome)?.kind, 'mapped', outcome.story)
      await given(accepter, { story: () => outcome.story })
      await accepter.stop()
    })
  }

  test('the mapping is held as long as the command runs, and given back when a signal ends it', async () => {
    const { side, mappings, given } = router('PCP')
    const accepter = await rig.accepter(plain, BOB)
    const long = ['--exec-command=/bin/sleep', '--exec-args=600']
    const inviter = rig.inviter(side, ALICE, BOB, long)
    await inviter.said(/^the command runs/)
    const [held, ...others] = await mappings()
    assert.equal(held?.internal.address, side.address)
    assert.deepEqual(others, [])
    await inviter.stop('SIGTERM')
    assert.deepEqual(await mappings(), [], 'it is given back before the program ends')
    await accepter.stop()
    await given(inviter, accepter)
  })

  test('a path that needs no mapping gives it back at once; without leave none is asked for', async () => {
    const { side, given } = router('UPnP')
    // in one LAN: to a peer outside the path may go through the mapping, if the peer knocks there first
    const near = await lab.side('near', 'symmetric', { sameLanAs: side })
    const accepter = await rig.accepter(near, BOB)
    const long = ['--exec-command=/bin/sleep', '--exec-args=600']
    const inviter = rig.inviter(side, ALICE, BOB, long)
    await inviter.said(/^the command runs/)
    await given(inviter, accepter)
    await inviter.stop()
    const other = rig.inviter(side, ALICE, BOB, ['--no-port-mapping'])
    assert.equal(await other.ended, 0, other.story())
    assert.doesNotMatch(other.story(), /port mapping/)
    await accepter.stop()
  })

  for (const [protocol, speaks] of [
    ['PCP', 'nat-pmp'],
    ['UPnP', 'upnp'],
  ] as const) {
    test(`by ${protocol} the router's firewall for IPv6 is open while the peer is waited for, and no longer`, async () => {
      const options = { ipv6: 'firewall', portMapper: speaks } as const
      const side = await lab.side(`six${protocol.toLowerCase()}`, 'port-restricted', options)
      const near = await lab.side(`near${protocol.toLowerCase()}`, 'public', { ipv6: true })
      const pinholes = async () => (await lab.portMapper(side).pinholes()).map(({ address }) => address)
      const inviter = rig.inviter(side, ALICE, BOB, [])
      await inviter.said(new RegExp(`pinhole \\S+ by ${protocol}`))
      // nobody answers yet: the firewall is open for whoever does
      assert.deepEqual(await pinholes(), [side.address6])
      const accepter = await rig.accepter(near, BOB)
      assert.equal(await inviter.ended, 0, inviter.story())
      await until(async () => (await pinholes()).length === 0)
      await accepter.stop()
    })
  }
})
