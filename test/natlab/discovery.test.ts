import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { patience, skip } from './fixture.js'
import { Lab, portMapperUnavailable, type SideType } from './index.js'
import { differences, NAT_PLACES, NatServers, reportOf } from './nat-places.js'

const TURNUTILS = '/usr/bin/turnutils_natdiscovery'

describe('plexus nat', { skip }, () => {
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
      const { report, code } = await reportOf(side, servers.full, state)
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
      const { report } = await reportOf(side, servers.plain, state)
      assert.deepEqual(differences(report, { kind, mapping, filtering: 'unknown' }), [])
      assert.match(
        report.missing.map(({ what, why }) => `${what}: ${why}`).join('\n'),
        /^filtering \(IPv4\): no server that answered has a second address/m,
      )
    }
  })

  test('by one plain server the mapping is unknown, and that is said', async () => {
    const side = await lab.side(`n${++count}`, 'port-restricted')
    const { report } = await reportOf(side, servers.plain.slice(0, 1), state)
    assert.deepEqual(differences(report, { kind: 'unknown', mapping: 'unknown' }), [])
    assert.match(
      report.missing.map(({ what, why }) => `${what}: ${why}`).join('\n'),
      /only one server address/,
    )
  })

  /** The words of turnutils_natdiscovery, and ours. */
  const DEPENDENCES = {
    'Endpoint Independent': 'endpoint-independent',
    'Address Dependent': 'address-dependent',
    'Address and Port Dependent': 'address-and-port-dependent',
  } as const

  const absent = existsSync(TURNUTILS) ? false : 'turnutils_natdiscovery is not installed (package coturn)'
  test('agrees with turnutils_natdiscovery where that can tell', { skip: absent }, async () => {
    const types: SideType[] = [
      'full-cone',
      'address-restricted',
      'port-restricted',
      'address-dependent-mapping',
      'symmetric',
    ]
    for (const type of types) {
      const side = await lab.side(`n${++count}`, type)
      const [server = ''] = servers.full
      const [address = '', port = ''] = server.split(':')
      const { stdout } = await side.exec(TURNUTILS, ['-m', '-f', '-p', port, address], { signal: patience() })
      const said = (what: string) => {
        const words = Object.entries(DEPENDENCES).filter(([word]) =>
          new RegExp(`NAT with ${word} ${what}`, 'i').test(stdout),
        )
        assert.equal(words.length, 1, stdout)
        return words[0]?.[1]
      }
      const { report } = await reportOf(side, servers.full, state)
      assert.equal(report.ipv4?.mapping, said('Mapping'), stdout)
      assert.equal(report.ipv4?.filtering, said('Filtering'), stdout)
    }
  })
})
