import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type FamilyReport,
  helpOf,
  kindOf,
  mappingOf,
  type NatReport,
  reachOf,
  type Way,
} from '../../src/nat/index.js'

const ANY = 'endpoint-independent'
const ADDRESS = 'address-dependent'
const PORT = 'address-and-port-dependent'

function report(ipv4: Partial<FamilyReport>, more: Partial<NatReport> = {}): NatReport {
  return {
    measured: 0,
    took: 0,
    udp: 'open',
    ipv4: {
      family: 4,
      own: '192.168.1.2',
      publicAddresses: ['203.0.113.7'],
      translated: true,
      mapping: ANY,
      filtering: PORT,
      allocation: { kind: 'random' },
      pooling: 'paired',
      hairpin: 'no',
      unasked: 'dropped',
      hops: 1,
      samples: [],
      rtt: 20,
      missing: [],
      ...ipv4,
    },
    ipv6: undefined,
    carrier: { verdict: 'no', why: '' },
    portMapping: { is: 'unavailable', why: '' },
    servers: [],
    missing: [],
    evidence: [],
    ...more,
  }
}

const RANDOM = { mapping: PORT, allocation: { kind: 'random' } } as const
const SEQUENTIAL = { mapping: PORT, allocation: { kind: 'sequential', step: 1 } } as const

/** The ways to the five kinds of peers, in the order of the report. */
const WAYS: readonly (readonly [string, NatReport, readonly Way[]])[] = [
  [
    'full-cone',
    report({ filtering: ANY }),
    [
      'directly',
      'directly',
      'directly',
      'directly, if the peer sends first',
      'directly, if the peer sends first',
    ],
  ],
  [
    'address-restricted',
    report({ filtering: ADDRESS }),
    ['directly', 'directly', 'directly', 'directly', 'directly'],
  ],
  [
    'port-restricted',
    report({}),
    ['directly', 'directly', 'directly', 'by predicting its ports', 'by searching for a few seconds'],
  ],
  [
    'firewall',
    report({ translated: false }),
    ['directly', 'directly', 'directly', 'by predicting its ports', 'by searching for a few seconds'],
  ],
  [
    'symmetric-sequential',
    report(SEQUENTIAL),
    [
      'directly',
      'directly',
      'by predicting the ports of this side',
      'by predicting its ports',
      'only with help',
    ],
  ],
  [
    'symmetric-random',
    report(RANDOM),
    ['directly', 'directly', 'by searching for a few seconds', 'only with help', 'only with help'],
  ],
  [
    'address-dependent',
    report({ mapping: ADDRESS }),
    ['directly', 'directly', 'by searching for a few seconds', 'only with help', 'only with help'],
  ],
]

for (const [kind, given, ways] of WAYS) {
  test(`${kind}: whom it reaches, and how`, () => {
    assert.equal(kindOf(given), kind)
    assert.deepEqual(
      reachOf(given).map(({ way }) => way),
      ways,
    )
  })
}

test('a port mapping makes everybody reachable, but not behind a carrier', () => {
  const external = { address: '203.0.113.7', port: 4000 }
  const mapped = report(RANDOM, { portMapping: { is: 'available', external } })
  assert.ok(reachOf(mapped).every(({ way }) => way.startsWith('directly')))
  assert.deepEqual(helpOf(mapped), [])
  const carried = report(RANDOM, {
    portMapping: { is: 'available', external: { address: '100.64.0.9', port: 4000 } },
    carrier: { verdict: 'yes', why: '' },
  })
  assert.ok(reachOf(carried).some(({ way }) => way === 'only with help'))
  assert.match(helpOf(carried)[0] ?? '', /provider uses NAT/)
})

test('what would help is said where something would, and is no more where nothing is missing', () => {
  assert.match(helpOf(report(RANDOM))[0] ?? '', /UPnP, PCP or NAT-PMP/)
  assert.deepEqual(helpOf(report({})), [])
  assert.match(helpOf(report({}, { udp: 'blocked', ipv4: undefined }))[0] ?? '', /Allow outgoing UDP/)
  assert.match(helpOf(report({ unasked: 'cuts off the sender' }))[0] ?? '', /--punch-hops/)
})

test('nothing is reached where nothing gets out', () => {
  for (const udp of ['blocked', 'silent'] as const) {
    const none = report({}, { udp, ipv4: undefined })
    assert.equal(kindOf(none), udp === 'blocked' ? 'udp-blocked' : 'offline')
    assert.ok(reachOf(none).every(({ way }) => way === 'only with help'))
  }
})

test('a mapping is told by what several servers saw, and no more than they saw', () => {
  const at = (address: string, port: number, mapped: number) => ({
    destination: { address, port },
    mapped: { address: '203.0.113.7', port: mapped },
  })
  const cases = [
    [[], 'unknown'],
    [[at('192.0.2.1', 1, 9)], 'unknown'],
    [[at('192.0.2.1', 1, 9), at('192.0.2.1', 2, 9)], 'unknown'],
    [[at('192.0.2.1', 1, 9), at('192.0.2.1', 2, 8)], PORT],
    [[at('192.0.2.1', 1, 9), at('192.0.2.2', 1, 9)], ANY],
    [[at('192.0.2.1', 1, 9), at('192.0.2.2', 1, 8)], PORT],
    [[at('192.0.2.1', 1, 9), at('192.0.2.2', 1, 8), at('192.0.2.2', 2, 8)], ADDRESS],
    [[at('192.0.2.1', 1, 9), at('192.0.2.2', 1, 8), at('192.0.2.2', 2, 7)], PORT],
  ] as const
  for (const [seen, mapping] of cases) assert.equal(mappingOf(seen).mapping, mapping, JSON.stringify(seen))
})
