import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { parseEndpoint } from '../../src/net/index.js'
import { mediumOf, parseAddresses6 } from '../../src/net/interfaces.js'
import { isOffered, OFFER_KINDS, type OfferKind } from '../../src/pairing/offered.js'
import { CandidateStory } from '../../src/pairing/story.js'
import { parseDescription } from '../../src/portmap/description.js'
import { parseNetstat, parseRoutes, parseRoutes6 } from '../../src/portmap/gateway.js'
import { parseLocation } from '../../src/portmap/ssdp.js'
import { type Candidate, type CandidateKind, formatCandidate, inTurns } from '../../src/punch/candidate.js'
import { plexus } from '../support/cli.js'
import { description } from '../support/fake-router.js'
import { ACCEPTER, Wire } from './punch-wire.js'

const candidate = (text: string): Candidate => {
  const [kind, where = ''] = text.split(' ')
  return { kind: kind as CandidateKind, endpoint: parseEndpoint(where) }
}

test('checks go to each kind and family in turn, and to virtual addresses when all others had theirs', () => {
  const given = [
    'host 192.168.1.2:1',
    'host 10.0.0.2:1',
    'host [2001:2::2]:1',
    'virtual 172.17.0.1:1',
    'virtual 10.8.0.1:1',
    'mapped 203.0.113.1:2',
    'reflexive 203.0.113.1:1',
  ]
  assert.deepEqual(inTurns(given.map(candidate)).map(formatCandidate), [
    'host 192.168.1.2:1',
    'host [2001:2::2]:1',
    'reflexive 203.0.113.1:1',
    'mapped 203.0.113.1:2',
    'host 10.0.0.2:1',
    'virtual 172.17.0.1:1',
    'virtual 10.8.0.1:1',
  ])
})

test('a path through a VPN is left for a direct one that comes half a second later, and taken when none comes', () => {
  const tunnel = { own: { address: '10.8.0.1', port: 4 }, peer: { address: '10.8.0.2', port: 4 } }
  for (const late of [500, 5000]) {
    const remote = {
      inviter: [
        { kind: 'reflexive' as const, endpoint: ACCEPTER },
        { kind: 'virtual' as const, endpoint: tunnel.peer },
      ],
      accepter: [{ kind: 'virtual' as const, endpoint: tunnel.own }],
    }
    const wire = new Wire({ remote })
    wire.routes.push(
      { by: 'inviter', to: tunnel.peer, from: tunnel.own },
      { by: 'accepter', to: tunnel.own, from: tunnel.peer },
    )
    const direct = (address: string) => address !== tunnel.own.address && address !== tunnel.peer.address
    wire.passes = ({ to, ttl }) => ttl === undefined && (!direct(to.address) || wire.now >= late)
    wire.run(8000, () => wire.over)
    const { state } = wire.inviter
    const kind = state.name === 'succeeded' ? state.result.kind : state.name
    assert.equal(kind, late === 500 ? 'reflexive' : 'virtual')
  }
})

test('towards a port mapping nothing is TTL-limited: it lets everybody in', () => {
  const mapped = { address: '203.0.113.9', port: 9 }
  const wire = new Wire({
    remote: { inviter: [], accepter: [{ kind: 'mapped' as const, endpoint: mapped }] },
  })
  wire.passes = () => false
  wire.run(500)
  const there = wire.by('accepter').filter(({ to }) => to.address === mapped.address)
  assert.ok(there.length > 0 && there.every(({ ttl }) => ttl === undefined))
})

test('an endpoint that echoes the challenge at once was heard, so that a search which hit it was not in vain', () => {
  const story = new CandidateStory()
  const hit = candidate('reflexive 203.0.113.1:1')
  story.note({ name: 'checked', candidate: hit }, 0)
  assert.equal(story.heard, false)
  story.note({ name: 'proven', candidate: hit, rtt: 20 }, 20)
  assert.equal(story.heard, true)
  assert.ok(story.found(new Set([hit.endpoint.address])))
})

test('a search was in vain unless the address that was searched has answered, whatever was heard from elsewhere', () => {
  for (const name of ['heard', 'proven'] as const) {
    const story = new CandidateStory()
    story.note({ name: 'checked', candidate: candidate('reflexive 203.0.113.1:1') }, 0)
    const elsewhere = candidate('peer-reflexive 198.51.100.1:1')
    story.note(name === 'heard' ? { name, candidate: elsewhere } : { name, candidate: elsewhere, rtt: 2 }, 20)
    assert.ok(!story.found(new Set(['203.0.113.1'])))
    story.note({ name: 'heard', candidate: candidate('peer-reflexive 203.0.113.1:2') }, 30)
    assert.ok(!story.found(new Set(['203.0.113.1'])), 'anybody may have sent that on from there')
  }
})

const OFFERED: readonly (readonly [string, string, readonly OfferKind[]])[] = [
  ['an address in the LAN', 'host 192.168.1.2:1', ['host']],
  ['a lasting local IPv6 address', 'host [fd00::2]:1', ['host', 'ipv6']],
  ['a global IPv6 address', 'host [2001:2::2]:1', ['ipv6']],
  ["a container's", 'virtual 172.17.0.1:1', ['virtual']],
  ["a container's global IPv6 address", 'virtual [2001:2::3]:1', ['virtual', 'ipv6']],
  ['what STUN shows', 'reflexive 203.0.113.1:1', ['reflexive']],
  ['what STUN shows of IPv6', 'reflexive [2001:2::2]:1', ['ipv6']],
  ['a port mapping', 'mapped 203.0.113.1:2', ['mapped']],
]

for (const [what, text, needed] of OFFERED) {
  test(`${what} is offered with ${needed.join(' and ')}, and not without`, () => {
    assert.ok(isOffered(candidate(text), new Set(needed)))
    assert.ok(isOffered(candidate(text), new Set(OFFER_KINDS)))
    for (const left of needed) {
      const others = OFFER_KINDS.filter((kind) => kind !== left)
      assert.ok(!isOffered(candidate(text), new Set(others)), `without ${left}`)
    }
  })
}

test('what an interface is, is told by the system before its name', async () => {
  const sysfs = await mkdtemp(join(tmpdir(), 'plexus-sysfs-'))
  const make = async (path: string) => {
    await mkdir(join(sysfs, path, '..'), { recursive: true })
    await writeFile(join(sysfs, path), '')
  }
  try {
    for (const path of [
      'eth0/device',
      'tun7/tun_flags',
      'office/tun_flags',
      'br-lan/bridge/x',
      'br-lan/brif/eth0',
      'br0/bridge/x',
      'br0/brif/vm1',
      'docker0/bridge/x',
      'docker0/brif/veth1',
      'wg0/type',
      'bond0/type',
    ]) {
      await make(path)
    }
    const media = [
      'eth0',
      'tun7',
      'office',
      'br-lan',
      'br0',
      'docker0',
      'wg0',
      'bond0',
      'veth9',
      'en0',
      'utun3',
    ]
    assert.deepEqual(Object.fromEntries(media.map((name) => [name, mediumOf(name, sysfs)])), {
      eth0: 'real',
      tun7: 'virtual',
      office: 'virtual',
      'br-lan': 'real',
      br0: 'virtual',
      docker0: 'virtual',
      wg0: 'virtual',
      bond0: 'real',
      veth9: 'virtual',
      en0: 'real',
      utun3: 'virtual',
    })
  } finally {
    await rm(sysfs, { recursive: true })
  }
})

/** What Linux has of an interface in /sys/class/net: files, and folders that end in a slash. */
const KERNEL: Readonly<Record<string, readonly ['real' | 'virtual', Readonly<Record<string, string>>]>> = {
  'a network card': ['real', { device: '', type: '1' }],
  'a card of any name': ['real', { device: '', type: '1', ifindex: '2', iflink: '2' }],
  WireGuard: ['virtual', { type: '65534', uevent: 'DEVTYPE=wireguard\nINTERFACE=x' }],
  GRE: ['virtual', { type: '778', ifindex: '7', iflink: '0' }],
  'GRE with Ethernet': ['virtual', { type: '1', ifindex: '7', iflink: '0', uevent: 'INTERFACE=x' }],
  'IP in IP': ['virtual', { type: '768', ifindex: '7', iflink: '2' }],
  'IPv6 in IPv4': ['virtual', { type: '776', ifindex: '7', iflink: '0' }],
  VXLAN: ['virtual', { type: '1', uevent: 'DEVTYPE=vxlan\nINTERFACE=x', lower_eth0: '' }],
  Geneve: ['virtual', { type: '1', uevent: 'DEVTYPE=geneve', ifindex: '7', iflink: '7' }],
  'a dummy': ['virtual', { type: '1', ifindex: '7', iflink: '7', uevent: 'INTERFACE=x' }],
  'a TUN device': ['virtual', { type: '65534', tun_flags: '0x1001', ifindex: '7', iflink: '7' }],
  'a TAP device': ['virtual', { type: '1', tun_flags: '0x1002', ifindex: '7', iflink: '7' }],
  'an xfrm interface': ['virtual', { type: '65534', ifindex: '7', iflink: '2' }],
  'the Ethernet of a container': ['real', { type: '1', ifindex: '2', iflink: '9', uevent: 'INTERFACE=x' }],
  'a VLAN on a card': [
    'real',
    { type: '1', ifindex: '7', iflink: '2', uevent: 'DEVTYPE=vlan', lower_eth0: '' },
  ],
  'a VLAN on a dummy': ['virtual', { type: '1', uevent: 'DEVTYPE=vlan', lower_dummy: '' }],
  'a bond of cards': ['real', { type: '1', uevent: 'DEVTYPE=bond', lower_eth0: '' }],
  'a bridge of a VLAN': ['real', { type: '1', uevent: 'DEVTYPE=bridge', bridge: '', 'brif/eth0': '' }],
  'a bridge of containers': ['virtual', { type: '1', uevent: 'DEVTYPE=bridge', bridge: '', 'brif/pair': '' }],
  'a modem': ['real', { type: '512', ifindex: '7', iflink: '7' }],
}

for (const [what, [medium, files]] of Object.entries(KERNEL)) {
  test(`${what} is ${medium} under any name`, async () => {
    const sysfs = await mkdtemp(join(tmpdir(), 'plexus-sysfs-'))
    const make = async (path: string, content: string) => {
      await mkdir(dirname(join(sysfs, path)), { recursive: true })
      await writeFile(join(sysfs, path), content)
    }
    try {
      for (const [path, text] of [
        ['eth0/device', ''],
        ['dummy/type', '1'],
        ['pair/type', '1'],
        ['pair/iflink', '99'],
      ] as const) {
        await make(path, text)
      }
      for (const name of ['lan0', 'office', 'x']) {
        for (const [path, content] of Object.entries(files)) await make(`${name}/${path}`, content)
        assert.equal(mediumOf(name, sysfs), medium)
      }
    } finally {
      await rm(sysfs, { recursive: true })
    }
  })
}

test('the flags of IPv6 addresses are read as Linux writes them', () => {
  const table =
    '20010002000000000000000000000002 02 40 00 01     eth0\n' +
    'fe8000000000000000fc00fffe000001 02 40 20 80     eth0\nno line of it\n'
  assert.deepEqual(
    [...parseAddresses6(table)],
    [
      ['2001:2::2', 1],
      ['fe80::fc:ff:fe00:1', 0x80],
    ],
  )
})

test('the default gateway is that of the default route with the smallest metric', () => {
  const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n'
  const row = (to: string, via: string, flags: string, metric: number, mask: string) =>
    `eth0\t${to}\t${via}\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0\n`
  const table = [
    row('0001A8C0', '00000000', '0001', 0, '00FFFFFF'),
    row('00000000', '0101A8C0', '0003', 600, '00000000'),
    row('00000000', '0102A8C0', '0003', 100, '00000000'),
    row('00000000', '0103A8C0', '0002', 0, '00000000'),
    row('00000000', '00000000', '0001', 0, '00000000'),
  ]
  assert.equal(parseRoutes(head + table.join(''), 'LE'), '192.168.2.1')
  assert.equal(parseRoutes(head + row('00000000', 'C0A80201', '0003', 1, '00000000'), 'BE'), '192.168.2.1')
  assert.equal(parseRoutes(`${head}${table[0]}`, 'LE'), undefined)
  assert.equal(parseRoutes('nonsense', 'LE'), undefined)
  const bsd =
    'Routing tables\n\nDestination Gateway Flags\ndefault link#12 UCS\ndefault 192.168.1.1 UGScg en0\n'
  assert.equal(parseNetstat(bsd), '192.168.1.1')
})

const GATEWAY = { address: '192.168.1.1', own: '192.168.1.2' }

test('a description is looked for on the gateway alone', () => {
  const answer = (location: string) => Buffer.from(`HTTP/1.1 200 OK\r\nlocation: ${location}\r\n\r\n`)
  const at = (location: string) => parseLocation(answer(location), GATEWAY)?.href
  assert.equal(at('http://192.168.1.1:5000/root.xml'), 'http://192.168.1.1:5000/root.xml')
  for (const bad of [
    'http://192.168.1.2/root.xml',
    'http://127.0.0.1/',
    'https://192.168.1.1/',
    'http://user:x@192.168.1.1/',
    'http://192.168.1.1.example/',
    'file:///etc/passwd',
    'nonsense',
    `http://192.168.1.1/${'x'.repeat(5000)}`,
  ]) {
    assert.equal(at(bad), undefined, bad)
  }
  assert.equal(
    parseLocation(Buffer.from('NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/\r\n'), GATEWAY),
    undefined,
  )
})

test('over IPv6 a description may lie at another address of the router in the own network, and nowhere else', () => {
  const gateway = { address: 'fe80::1%eth0', own: '2001:db8:1::5', interface: 'eth0' }
  const at = (url: string) =>
    parseLocation(Buffer.from(`HTTP/1.1 200 OK\r\nLocation:${url}\r\n\r\n`), gateway)?.href
  for (const good of ['http://[fe80::1]:5000/root.xml', 'http://[2001:db8:1::1]/'])
    assert.equal(at(good), good)
  for (const bad of [
    'http://[2001:db8:1::5]/',
    'http://[2001:db8:2::1]/',
    'http://[fe80::2]/',
    'http://[::1]/',
    'http://192.168.1.1/',
  ]) {
    assert.equal(at(bad), undefined, bad)
  }
})

test('the default gateway for IPv6 is that of the default route with the smallest metric', () => {
  const line = (
    hop: string,
    metric: string,
    name: string,
    destination = '0'.repeat(32),
    flags = '00000003',
  ) => `${destination} 00 ${'0'.repeat(32)} 00 ${hop} ${metric} 00000001 00000000 ${flags}     ${name}`
  const local = `fe80${'0'.repeat(27)}1`
  const table = [
    line('0'.repeat(32), '00000001', 'lo', undefined, '00200200'),
    line(local, '00000400', 'wlan0'),
    line(local, '00000064', 'eth0'),
    line(`20010db8${'0'.repeat(23)}7`, '00000100', 'eth1'),
  ]
  assert.deepEqual(parseRoutes6(table.join('\n')), { address: 'fe80::1%eth0', interface: 'eth0' })
  assert.deepEqual(parseRoutes6(table.at(-1) ?? ''), { address: '2001:db8::7', interface: 'eth1' })
  assert.equal(parseRoutes6(''), undefined)
})

test('of a description only services that map ports are read, whatever else it holds', () => {
  const location = new URL('http://192.168.1.1:5000/root.xml')
  const type = 'urn:schemas-upnp-org:service:WANPPPConnection:1'
  const found = (xml: string) => parseDescription(xml, location, GATEWAY).map(({ control }) => control.href)
  assert.deepEqual(found(description(type, '/ctl')), ['http://192.168.1.1:5000/ctl'])
  // as the standard has it, and as routers mean it
  assert.deepEqual(found(description(type, 'ctl', '<URLBase>http://192.168.1.1:80/x/</URLBase>')), [
    'http://192.168.1.1/x/ctl',
    'http://192.168.1.1/ctl',
    'http://192.168.1.1:5000/ctl',
  ])
  assert.deepEqual(found(description(type, 'ctl', '<URLBase>http://10.0.0.1/</URLBase>')), [
    'http://192.168.1.1:5000/ctl',
  ])
  assert.deepEqual(found(description(type, 'http://10.0.0.1/ctl')), [])
  assert.deepEqual(found(description('urn:schemas-upnp-org:service:RenderingControl:1', '/ctl')), [])
  assert.deepEqual(found('<!DOCTYPE x [<!ENTITY a "b">]><service>'.repeat(3000)), [])
})

test('--candidates takes kinds that exist, and at least one of them', async () => {
  const flags = ['--app-repo=/nowhere', '--peer-info=a@b/c']
  for (const [given, said] of [
    ['--candidates=host,lan', /--candidates is 'host,lan', but should be some of host, virtual, ipv6/],
    ['--candidates=', /--candidates is ''/],
  ] as const) {
    const { code, stderr } = await plexus([...flags, given])
    assert.equal(code, 2)
    assert.match(stderr, said)
  }
  const { stderr } = await plexus([...flags, '--candidates=mapped', '--no-port-mapping'])
  assert.match(stderr, /--candidates is 'mapped', but should be more than mapped/)
})
