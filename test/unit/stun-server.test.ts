import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import {
  type Datagram,
  type Endpoint,
  formatEndpoint,
  type Logger,
  ownAddresses,
  sameEndpoint,
  silent,
  UdpPort,
} from '../../src/net/index.js'
import {
  type Attribute,
  decode,
  encode,
  find,
  type Message,
  type MessageContent,
  StunServer,
  verifyFingerprint,
} from '../../src/stun/index.js'
import { SOURCE_LIMIT, SourceLimits } from '../../src/stun/source-limits.js'
import { seeded } from '../fixtures/stun/random.js'

const hasIPv6 = ownAddresses({ loopback: true }).some(({ address }) => address === '::1')
const random = seeded(11)

interface Answer {
  readonly message: Message
  readonly from: Endpoint
}

/** A client that asks one server after the other. */
function client(t: TestContext, address = '127.0.0.1') {
  const port = UdpPort.open({ address })
  t.after(() => port.close())
  const local = port.local(address.includes(':') ? 6 : 4) as Endpoint
  const next = () =>
    new Promise<Datagram>((resolve) => {
      const stop = port.listen((datagram) => {
        stop()
        resolve(datagram)
      })
    })
  const ask = async (server: Endpoint, content: Partial<MessageContent> = {}): Promise<Answer> => {
    const answer = next()
    port.send(encode({ class: 'request', transaction: random(12), ...content }), server)
    const { data, from } = await answer
    return { message: decode(data), from }
  }
  return { port, local, next, ask }
}

async function opened(
  t: TestContext,
  listen: Endpoint,
  alternate?: Endpoint,
  log: Logger = silent,
): Promise<StunServer> {
  const server = await StunServer.open(alternate ? { listen, alternate, log } : { listen, log })
  t.after(() => server.close())
  return server
}

const any = (address: string): Endpoint => ({ address, port: 0 })
const change = (address: boolean, port: boolean): Attribute => ({ name: 'CHANGE-REQUEST', address, port })

function refused(answer: Answer): readonly number[] {
  assert.equal(answer.message.class, 'error')
  assert.equal(find(answer.message, 'ERROR-CODE')?.code, 420)
  assert.equal(find(answer.message, 'XOR-MAPPED-ADDRESS'), undefined)
  return find(answer.message, 'UNKNOWN-ATTRIBUTES')?.types ?? []
}

for (const address of ['127.0.0.1', '::1']) {
  test(`a Binding request to ${address} is answered with its source, and nothing else`, {
    skip: address === '::1' && !hasIPv6 ? 'no IPv6 on the loopback interface' : false,
  }, async (t) => {
    const server = await opened(t, any(address))
    const [endpoint] = server.endpoints as [Endpoint]
    const { ask, local } = client(t, address)
    const { message, from } = await ask(endpoint)
    assert.equal(server.capability, 'binding')
    assert.equal(message.class, 'success')
    assert.deepEqual(from, endpoint)
    assert.deepEqual(message.attributes, [{ name: 'XOR-MAPPED-ADDRESS', endpoint: local }])
    assert.equal(message.raw.length, address === '::1' ? 44 : 32)
  })
}

test('a request with everything optional in it is answered all the same', async (t) => {
  const server = await opened(t, any('127.0.0.1'))
  const { ask, local } = client(t)
  const { message } = await ask(server.endpoints[0] as Endpoint, {
    attributes: [
      { name: 'SOFTWARE', text: 'a client' },
      { name: 'USERNAME', text: 'somebody' },
      { name: 'PADDING', length: 1000 },
      { name: 'RESPONSE-PORT', port: local.port },
      change(false, false),
      { name: 'UNKNOWN', type: 0xc057, value: Buffer.alloc(4) },
    ],
    integrityKey: Buffer.from('whatever'),
    fingerprint: true,
  })
  assert.equal(message.class, 'success')
  assert.equal(message.raw.length, 32, 'PADDING is not given back')
})

test('unknown attributes that have to be understood are refused by name, and in few bytes', async (t) => {
  const server = await opened(t, any('127.0.0.1'))
  const { ask } = client(t)
  const unknown = (type: number): Attribute => ({ name: 'UNKNOWN', type, value: Buffer.alloc(0) })
  const endpoint = server.endpoints[0] as Endpoint
  const answer = await ask(endpoint, { attributes: [unknown(0x24), unknown(0x7fff), unknown(0x24)] })
  assert.deepEqual(refused(answer), [0x24, 0x7fff])
  assert.equal(answer.message.raw.length, 36)
  const many = Array.from({ length: 250 }, (_, index) => unknown(0x1000 + index))
  const huge = await ask(endpoint, { attributes: many })
  assert.ok(huge.message.raw.length < 20 + many.length * 4)
})

test('without an alternate nothing can be changed, and no port but the own be answered', async (t) => {
  const server = await opened(t, any('127.0.0.1'))
  const { ask } = client(t)
  const endpoint = server.endpoints[0] as Endpoint
  assert.deepEqual(refused(await ask(endpoint, { attributes: [change(false, true)] })), [0x0003])
  assert.deepEqual(refused(await ask(endpoint, { attributes: [change(true, false)] })), [0x0003])
  const elsewhere: Attribute = { name: 'RESPONSE-PORT', port: 53 }
  assert.deepEqual(refused(await ask(endpoint, { attributes: [elsewhere] })), [0x0027])
})

test('RFC 5780: with another address and port it answers from whichever of the four is asked for', async (t) => {
  const server = await opened(t, any('127.0.0.1'), any('127.0.0.2'))
  assert.equal(server.capability, 'behaviour-discovery')
  const { endpoints } = server
  assert.equal(endpoints.length, 4)
  assert.equal(new Set(endpoints.map(({ port }) => port)).size, 2)
  const { ask, local } = client(t)
  for (const asked of endpoints) {
    const other = endpoints.find(({ address, port }) => address !== asked.address && port !== asked.port)
    for (const [address, port] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as const) {
      const { message, from } = await ask(asked, { attributes: [change(address, port)] })
      assert.equal(message.class, 'success')
      assert.equal(from.address !== asked.address, address)
      assert.equal(from.port !== asked.port, port)
      assert.ok(endpoints.some((endpoint) => sameEndpoint(endpoint, from)))
      assert.deepEqual(find(message, 'RESPONSE-ORIGIN')?.endpoint, from)
      assert.deepEqual(find(message, 'OTHER-ADDRESS')?.endpoint, other)
      assert.deepEqual(find(message, 'XOR-MAPPED-ADDRESS')?.endpoint, local)
    }
  }
})

test('an alternate that differs in the port alone changes the port alone, and the log says so', async (t) => {
  const warnings: string[] = []
  const log = { ...silent, warn: (_: object, message: string) => void warnings.push(message) }
  const server = await opened(t, any('127.0.0.1'), any('127.0.0.1'), log)
  assert.equal(server.capability, 'change-port')
  assert.match(warnings.join(), /the same address: clients can ask for the other port only/)
  const { ask } = client(t)
  const [asked, other] = server.endpoints as [Endpoint, Endpoint]
  const { message, from } = await ask(asked, { attributes: [change(false, true)] })
  assert.deepEqual(from, other)
  assert.equal(find(message, 'OTHER-ADDRESS'), undefined, 'it would be taken for another address')
  assert.deepEqual(refused(await ask(asked, { attributes: [change(true, false)] })), [0x0003])
  assert.deepEqual(refused(await ask(asked, { attributes: [change(true, true)] })), [0x0003])
})

test('an alternate that differs in the address alone changes the address alone', async (t) => {
  const chosen = await opened(t, any('127.0.0.1'))
  const { port } = chosen.endpoints[0] as Endpoint
  await chosen.close()
  const server = await opened(t, { address: '127.0.0.1', port }, { address: '127.0.0.2', port })
  assert.equal(server.capability, 'change-address')
  const { ask } = client(t)
  const [asked, other] = server.endpoints as [Endpoint, Endpoint]
  assert.deepEqual((await ask(asked, { attributes: [change(true, false)] })).from, other)
  assert.deepEqual(refused(await ask(asked, { attributes: [change(false, true)] })), [0x0003])
})

test('an alternate that does not go with the address is refused at the start', async () => {
  const cases: [Endpoint, Endpoint][] = [
    [
      { address: '127.0.0.1', port: 3478 },
      { address: '::1', port: 3479 },
    ],
    [
      { address: '0.0.0.0', port: 3478 },
      { address: '127.0.0.2', port: 3479 },
    ],
    [
      { address: '127.0.0.1', port: 3478 },
      { address: '0.0.0.0', port: 3479 },
    ],
    [
      { address: '127.0.0.1', port: 3478 },
      { address: '127.0.0.1', port: 3478 },
    ],
  ]
  for (const [listen, alternate] of cases) {
    await assert.rejects(
      StunServer.open({ listen, alternate, log: silent }),
      (error) => error instanceof PlexusError && error.code === 'BAD_ENDPOINT',
      `${formatEndpoint(listen)} with ${formatEndpoint(alternate)}`,
    )
  }
})

test('on the unspecified address it answers from each address that is asked', async (t) => {
  const server = await opened(t, any('0.0.0.0'))
  const own = ownAddresses({ loopback: true }).filter(({ family }) => family === 4)
  assert.deepEqual(
    server.endpoints.map(({ address }) => address).sort(),
    [...new Set(own.map(({ address }) => address))].sort(),
  )
  for (const endpoint of server.endpoints) {
    const { from } = await client(t, endpoint.address).ask(endpoint)
    assert.deepEqual(from, endpoint)
  }
})

test('a taken port and a foreign address are errors, and leave nothing bound', async (t) => {
  const first = await opened(t, any('127.0.0.2'))
  const [{ port }] = first.endpoints as [Endpoint]
  const code = (code: string) => (error: unknown) => error instanceof PlexusError && error.code === code
  const both = { listen: { address: '127.0.0.1', port }, alternate: { address: '127.0.0.2', port } }
  await assert.rejects(StunServer.open({ ...both, log: silent }), code('ADDRESS_IN_USE'))
  const again = await opened(t, both.listen)
  await again.close()
  await again.close()
  await assert.rejects(
    StunServer.open({ listen: { address: '192.0.2.254', port: 0 }, log: silent }),
    code('ADDRESS_UNAVAILABLE'),
  )
})

test('what is no Binding request gets no answer', async (t) => {
  const server = await opened(t, any('127.0.0.1'))
  const endpoint = server.endpoints[0] as Endpoint
  const { port, next } = client(t)
  const damaged = encode({ class: 'request', transaction: random(12), fingerprint: true })
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1)
  assert.ok(!verifyFingerprint(decode(damaged)))
  const good = random(12)
  const answer = next()
  for (const data of [
    Buffer.alloc(0),
    Buffer.from([0, 1, 2]),
    Buffer.alloc(1200, 0xff),
    Buffer.from('0001000000000000', 'hex'),
    damaged,
    encode({ class: 'request', transaction: random(12) }).subarray(0, 19),
    encode({ class: 'request', transaction: random(12), method: 3 }),
    ...(['indication', 'success', 'error'] as const).map((kind) =>
      encode({ class: kind, transaction: random(12) }),
    ),
    encode({ class: 'request', transaction: good }),
  ]) {
    port.send(data, endpoint)
  }
  // loopback keeps the order: the first answer is to the last datagram
  assert.deepEqual(decode((await answer).data).transaction, good)
})

test('a server that has closed has freed its ports', async (t) => {
  const server = await StunServer.open({ listen: any('127.0.0.1'), alternate: any('127.0.0.2'), log: silent })
  const { endpoints } = server
  await server.close()
  for (const { address, port } of endpoints) {
    const again = UdpPort.open({ address, port })
    t.after(() => again.close())
  }
})

test('one network is answered so often and no more, whatever its addresses; another, and this machine, always', () => {
  const networks = [
    [(n: number) => `203.0.113.${n % 250}`, '198.51.100.1'],
    [(n: number) => `2001:db8:1:2::${(n % 9999).toString(16)}`, '2001:db8:1:3::1'],
    [(n: number) => `192.88.1.${n % 3}`, '192.88.2.1'],
  ] as const
  for (const [within, beside] of networks) {
    const limits = new SourceLimits()
    let answered = 0
    for (let now = 0; now < 60_000; now++) if (limits.allows(now, within(now))) answered++
    assert.ok(answered <= SOURCE_LIMIT.burst + SOURCE_LIMIT.rate * 60, `${answered}`)
    assert.ok(answered >= SOURCE_LIMIT.rate * 60)
    assert.ok(limits.allows(60_000, beside))
    for (let n = 0; n < 5000; n++) assert.ok(limits.allows(60_000, '127.0.0.1'))
  }
  const many = new SourceLimits()
  for (let n = 0; n < 40_000; n++) many.allows(n / 100, `10.${n >> 8}.${n & 255}.1`)
  assert.ok(many.size <= 8192)
})
