import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { type Endpoint, formatEndpoint, ownAddresses, silent, UdpPort } from '../../src/net/index.js'
import {
  compareMappings,
  DEFAULT_STUN_SERVERS,
  type DiscoverOptions,
  decode,
  discover,
  encode,
  isStun,
  type Reflexive,
  StunServer,
} from '../../src/stun/index.js'
import { HeldClock } from '../fixtures/stun/held-clock.js'
import { seeded } from '../fixtures/stun/random.js'

const hasIPv6 = ownAddresses({ loopback: true }).some(({ address }) => address === '::1')

function options(clock: HeldClock, more: Partial<DiscoverOptions> = {}): DiscoverOptions {
  return { clock, random: seeded(5), log: silent, signal: new AbortController().signal, ...more }
}

function opened(t: TestContext, address: string | undefined = '127.0.0.1'): UdpPort {
  const port = UdpPort.open({ address })
  t.after(() => port.close())
  return port
}

/** The port that the process will punch with: both families. */
function punching(t: TestContext): UdpPort {
  const port = UdpPort.open()
  t.after(() => port.close())
  return port
}

async function served(t: TestContext, address: string): Promise<Endpoint> {
  const server = await StunServer.open({ listen: { address, port: 0 }, log: silent })
  t.after(() => server.close())
  return server.endpoints[0] as Endpoint
}

function localOf(port: UdpPort, family: 4 | 6 = 4): Endpoint {
  return port.local(family) as Endpoint
}

test('a port learns its endpoint in both families from servers asked at once', {
  skip: hasIPv6 ? false : 'no IPv6 on the loopback interface',
}, async (t) => {
  const clock = new HeldClock()
  const port = punching(t)
  const servers = [await served(t, '127.0.0.1'), await served(t, '::1')]
  const found = await discover(port, servers.map(formatEndpoint), options(clock))
  assert.deepEqual(
    found.map(({ endpoint }) => formatEndpoint(endpoint)).sort(),
    [`127.0.0.1:${localOf(port, 4).port}`, `[::1]:${localOf(port, 6).port}`].sort(),
  )
  assert.equal(clock.waiting, 0)
})

test('a name is asked at its addresses, while another fails and a third never resolves', async (t) => {
  const clock = new HeldClock()
  const port = opened(t)
  const server = await served(t, '127.0.0.1')
  const resolve: DiscoverOptions['resolve'] = async (host) => {
    if (host === 'good.test') return [{ address: '2001:db8::1' }, { address: server.address }]
    if (host === 'slow.test') return new Promise(() => {})
    throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
  }
  const discovered = discover(
    port,
    ['bad.test', 'slow.test', `good.test:${server.port}`],
    options(clock, { resolve }),
  )
  // the slow name might still bring the other family: the port has only one, so nobody waits for it
  const [found] = await discovered
  assert.equal(found?.serverName, `good.test:${server.port}`)
  assert.deepEqual(found?.endpoint, localOf(port))
  assert.deepEqual(found?.server, server)
  assert.equal(clock.waiting, 0)
})

test('on a link that loses the first packets it takes exactly the retransmissions that RFC 8489 foresees', async (t) => {
  const clock = new HeldClock()
  const port = opened(t)
  const server = await served(t, '127.0.0.1')
  const near = opened(t)
  const far = opened(t)
  let requests = 0
  near.listen(({ data }) => {
    requests++
    if (requests > 3) far.send(data, server)
    else clock.next()
  })
  far.listen(({ data }) => near.send(data, localOf(port)))
  const [found] = await discover(port, [formatEndpoint(localOf(near))], options(clock))
  assert.equal(requests, 4)
  assert.equal(found?.rtt, 150 + 300 + 600)
  assert.deepEqual(found?.endpoint, localOf(far), 'the relay is what the server saw')
  assert.equal(clock.waiting, 0)
})

test('when nobody helps, the error names each server and what became of it', async (t) => {
  const clock = new HeldClock()
  const port = opened(t)
  const mute = opened(t)
  const refusing = opened(t)
  const lying = opened(t)
  const answerWith = (server: UdpPort, content: (transaction: Buffer) => Buffer) =>
    server.listen(({ data, from }) => server.send(content(decode(data).transaction), from))
  answerWith(refusing, (transaction) =>
    encode({ class: 'error', transaction, attributes: [{ name: 'ERROR-CODE', code: 420, reason: '' }] }),
  )
  answerWith(lying, (transaction) =>
    encode({
      class: 'success',
      transaction,
      attributes: [{ name: 'XOR-MAPPED-ADDRESS', endpoint: { address: '0.0.0.0', port: 5 } }],
    }),
  )
  // time passes only when those who answer have been heard
  let answers = 0
  mute.listen(() => answers === 2 && clock.next())
  const servers = [mute, refusing, lying].map((server) => formatEndpoint(localOf(server)))
  const resolve = async () => Promise.reject(Object.assign(new Error(), { code: 'EAI_AGAIN' }))
  const asked = discover(port, [...servers, 'name.test', '[2001:db8::1]'], options(clock, { resolve }))
  port.listen(() => ++answers === 2 && clock.next())
  await assert.rejects(asked, (error) => {
    assert.ok(error instanceof PlexusError)
    assert.equal(error.code, 'STUN_UNREACHABLE')
    for (const part of [
      `${servers[0]}: no answer to 6 requests`,
      `${servers[1]}: it answered with error 420`,
      `${servers[2]}: its answer names 0.0.0.0:5, which cannot be`,
      'name.test: its name does not resolve (EAI_AGAIN)',
      '[2001:db8::1]: there is no route to its address 2001:db8::1',
    ]) {
      assert.ok(error.message.includes(part), `'${error.message}' should say '${part}'`)
    }
    return true
  })
  assert.equal(clock.now(), 5000)
  assert.equal(clock.waiting, 0)
})

test('no server, and no server that could be one, are told apart from silence', async (t) => {
  const port = opened(t)
  const code = (code: string) => (error: unknown) => error instanceof PlexusError && error.code === code
  await assert.rejects(discover(port, [], options(new HeldClock())), code('STUN_UNREACHABLE'))
  await assert.rejects(discover(port, ['a b:1'], options(new HeldClock())), code('BAD_ENDPOINT'))
  await assert.rejects(discover(port, ['127.0.0.1:0'], options(new HeldClock())), code('BAD_ENDPOINT'))
})

test('datagrams that are not for it reach the others who listen, and do not disturb it', async (t) => {
  const clock = new HeldClock()
  const port = opened(t)
  const peer = opened(t)
  const relay = opened(t)
  const heard: Buffer[] = []
  port.listen(({ data, from }) => {
    if (from.port === localOf(peer).port) heard.push(data)
  })
  relay.listen(({ data, from }) => {
    const { transaction } = decode(data)
    const attributes = [{ name: 'XOR-MAPPED-ADDRESS', endpoint: from }] as const
    const forged = [{ name: 'XOR-MAPPED-ADDRESS', endpoint: { address: '203.0.113.66', port: 66 } }] as const
    // right id, wrong source, and there first; loopback keeps the order
    peer.send(encode({ class: 'success', transaction, attributes: forged }), from)
    peer.send(Buffer.from('opaque'), from)
    relay.send(encode({ class: 'success', transaction, attributes }), from)
  })
  const arrived = new Promise<void>((resolve) => {
    const stop = port.listen(() => {
      if (heard.length < 2) return
      stop()
      resolve()
    })
  })
  const [found] = await discover(port, [formatEndpoint(localOf(relay))], options(clock))
  await arrived
  assert.deepEqual(found?.endpoint, localOf(port))
  assert.ok(isStun(heard[0] ?? Buffer.alloc(0)))
  assert.equal(heard[1]?.toString(), 'opaque')
})

test('with a callback the other servers are heard too, and a symmetric mapping shows', async (t) => {
  const clock = new HeldClock()
  const port = opened(t)
  const answers: Reflexive[] = []
  const servers = [opened(t, '127.0.0.1'), opened(t, '127.0.0.2')]
  for (const [index, server] of servers.entries()) {
    server.listen(({ data, from }) => {
      const endpoint = { address: '198.51.100.7', port: 40000 + index }
      const { transaction } = decode(data)
      server.send(
        encode({ class: 'success', transaction, attributes: [{ name: 'XOR-MAPPED-ADDRESS', endpoint }] }),
        from,
      )
    })
  }
  const both = new Promise<void>((resolve) => {
    const onAnswer = (answer: Reflexive) => {
      answers.push(answer)
      if (answers.length === 2) resolve()
    }
    void discover(
      port,
      servers.map((server) => formatEndpoint(localOf(server))),
      options(clock, { onAnswer }),
    )
  })
  await both
  assert.equal(compareMappings(answers, 4), 'symmetric')
  await new Promise(setImmediate)
  assert.equal(clock.waiting, 0, 'it has ended by itself')
})

test('an aborted discovery stops at once and leaves nothing behind', async (t) => {
  const clock = new HeldClock()
  const port = opened(t)
  const mute = opened(t)
  const controller = new AbortController()
  const reason = new PlexusError('CANCELLED', 'Enough.')
  const { signal } = controller
  const asked = discover(port, [formatEndpoint(localOf(mute))], options(clock, { signal }))
  assert.equal(clock.waiting, 1)
  controller.abort(reason)
  await assert.rejects(asked, reason)
  assert.equal(clock.waiting, 0)
  await assert.rejects(discover(port, ['127.0.0.1:9'], options(clock, { signal })), reason)
})

test('the public servers are few, and none shares its operator with another', () => {
  const domains = DEFAULT_STUN_SERVERS.map((server) =>
    server.replace(/:\d+$/, '').split('.').slice(-2).join('.'),
  )
  assert.ok(domains.length >= 3 && domains.length <= 5)
  assert.equal(new Set(domains).size, domains.length)
})
