import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { patience, skip } from './fixture.js'
import { Lab, portMapperUnavailable, type Side, type SideType } from './index.js'
import { differences, NAT_PLACES, NatServers, reportOf } from './nat-places.js'
import { Process } from './pairing-rig.js'

/** A router that maps no ports is silent for as long as it is asked. */
const UNMAPPED = ['--no-port-mapping']

const TURNUTILS = '/usr/bin/turnutils_natdiscovery'

/** The words of turnutils_natdiscovery, and ours. */
const DEPENDENCES = {
  'Endpoint Independent': 'endpoint-independent',
  'Address Dependent': 'address-dependent',
  'Address and Port Dependent': 'address-and-port-dependent',
} as const

describe('plexus nat', { skip, concurrency: 3 }, () => {
  let lab: Lab
  let servers: NatServers
  let state: string
  let count = 0

  before(async () => {
    lab = await Lab.open()
    servers = await NatServers.start(lab)
    state = await mkdtemp(join(tmpdir(), 'plexus-nat-'))
  })
  after(async () => {
    await servers?.stop()
    await lab?.close()
    if (state) await rm(state, { recursive: true, force: true })
  })

  for (const { name, type, options, mapper, expected } of NAT_PLACES) {
    const unable = mapper ? (portMapperUnavailable() ?? false) : false
    test(`names it: ${name}`, { skip: unable }, async () => {
      const side = await lab.side(`n${++count}`, type, options)
      const { report, code } = await reportOf(side, servers.full, state, mapper ? [] : UNMAPPED)
      assert.deepEqual(differences(report, expected), [], report.evidence.join('\n'))
      assert.equal(code, report.udp === 'open' ? 0 : 1)
    })
  }

  test('tells a cone from a symmetric NAT by two plain servers, and says what they cannot tell', async () => {
    for (const [type, kind, mapping] of [
      ['port-restricted', 'cone', 'endpoint-independent'],
      ['symmetric', 'symmetric-random', 'address-and-port-dependent'],
    ] as const) {
      const side = await lab.side(`n${++count}`, type)
      const { report } = await reportOf(side, servers.plain, state, UNMAPPED)
      assert.deepEqual(differences(report, { kind, mapping, filtering: 'unknown' }), [])
      assert.match(
        report.missing.map(({ what, why }) => `${what}: ${why}`).join('\n'),
        /^filtering \(IPv4\): no server that answered has a second address/m,
      )
    }
  })

  test('by one plain server the mapping is unknown, and that is said', async () => {
    const side = await lab.side(`n${++count}`, 'port-restricted')
    const { report } = await reportOf(side, servers.plain.slice(0, 1), state, UNMAPPED)
    assert.deepEqual(differences(report, { kind: 'unknown', mapping: 'unknown' }), [])
    assert.match(
      report.missing.map(({ what, why }) => `${what}: ${why}`).join('\n'),
      /only one server address/,
    )
  })

  test('an accepter knows its NAT after its start, and is ready without waiting for it', async () => {
    const side = await lab.side(`n${++count}`, 'symmetric-sequential', { step: 3 })
    const repository = join(state, 'repo')
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    await createIdentity(repository, parseIdentity('bob@px.test/server'), options)
    await mkdir(join(state, 'meet'))
    const accepter = new Process(side, [
      '--accept',
      `--app-repo=${repository}`,
      `--rendezvous=dir:${join(state, 'meet')}`,
      `--state-dir=${join(state, 'accepter')}`,
      ...servers.full.map((server) => `--stun-server=${server}`),
    ])
    await accepter.said(/^your NAT: symmetric NAT with ports in sequence/)
    await accepter.said(/^ready for invites/)
    await accepter.stop()
  })

  const absent = existsSync(TURNUTILS) ? false : 'turnutils_natdiscovery is not installed (package coturn)'
  test('agrees with turnutils_natdiscovery where that can tell', { skip: absent }, async () => {
    const types: SideType[] = ['full-cone', 'address-restricted', 'port-restricted', 'symmetric']
    await Promise.all(
      types.map(async (type) => {
        const side = await lab.side(`n${++count}`, type)
        const stdout = await turnutils(side, '-m', '-f')
        const { report } = await reportOf(side, servers.full, state, UNMAPPED)
        assert.equal(report.ipv4?.mapping, saidOf(stdout, 'Mapping'), `${type}: ${stdout}`)
        assert.equal(report.ipv4?.filtering, saidOf(stdout, 'Filtering'), `${type}: ${stdout}`)
      }),
    )
  })

  test('sees what turnutils_natdiscovery sees of an address-dependent mapping', {
    skip: absent,
  }, async () => {
    // its third question goes to the second address that the second answer names, which is the first one's again, so its
    // verdict is of two addresses; what it prints is right
    const side = await lab.side(`n${++count}`, 'address-dependent-mapping')
    const stdout = await turnutils(side, '-m')
    const [first, second, third] = [...stdout.matchAll(/reflexive addr: (\S+)/g)].map(
      ([, endpoint]) => endpoint,
    )
    assert.ok(first !== undefined && second !== undefined && third !== undefined, stdout)
    assert.notEqual(first, second)
    assert.equal(first, third, 'another port of the same address')
  })

  async function turnutils(side: Side, ...what: string[]): Promise<string> {
    const [server = ''] = servers.full
    const [address = '', port = ''] = server.split(':')
    const { stdout, stderr } = await side.exec(TURNUTILS, [...what, '-p', port, address], {
      signal: patience(),
    })
    // it says some of it here and some of it there
    return `${stdout}\n${stderr}`
  }
})

/** What turnutils_natdiscovery calls it, in our words. */
function saidOf(text: string, what: 'Mapping' | 'Filtering'): string | undefined {
  const words = Object.entries(DEPENDENCES).filter(([word]) =>
    new RegExp(`NAT with ${word} ${what}`, 'i').test(text),
  )
  assert.equal(words.length, 1, text)
  return words[0]?.[1]
}
