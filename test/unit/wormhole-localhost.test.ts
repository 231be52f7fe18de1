import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, test } from 'node:test'
import { systemClock } from '../../src/cli/clock.js'
import { ownAddresses } from '../../src/net/index.js'
import { Forwarding, parseShare } from '../../src/wormhole/index.js'
import { openAtAll } from '../../src/wormhole/local-addresses.js'
import { MemoryLog } from '../support/log.js'
import { Service, text } from '../support/services.js'
import { tunnelPair } from '../support/tunnel-pair.js'

const LAPTOP = 'alice@example.com/laptop'
const SERVER = 'bob@example.com/server'
const ADDRESSES = ['127.0.0.1', '::1'] as const
const skip = ownAddresses({ loopback: true }).some(({ address }) => address === '::1')
  ? false
  : 'no IPv6 on the loopback interface'

const udpAt = async (address: string, port = 0): Promise<Socket> => {
  const socket = createSocket(address === '::1' ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
  socket.bind(port, address)
  await once(socket, 'listening')
  return socket
}

describe('localhost is both of its addresses', { skip }, () => {
  const ends: (() => unknown)[] = []
  afterEach(async () => {
    await Promise.all(ends.splice(0).map((end) => end()))
  })

  /** A forwarding on each side, joined by a tunnel. @returns the ports that are listened at */
  const joined = async (exported: string, imported: string): Promise<number> => {
    const around = { clock: systemClock, log: new MemoryLog() }
    const exporter = await Forwarding.open(
      { exports: [parseShare(exported)], imports: [], wait: 20_000 },
      around,
    )
    const importer = await Forwarding.open(
      { exports: [], imports: [{ ...parseShare(imported), peer: SERVER }], wait: 20_000 },
      around,
    )
    ends.push(
      () => exporter.close(),
      () => importer.close(),
    )
    const [near, far] = tunnelPair()
    void exporter.carry(LAPTOP, far)
    void importer.carry(SERVER, near)
    const at = importer.listening[0]
    assert.ok(at && at.kind !== 'unix')
    return at.port
  }

  for (const address of ADDRESSES) {
    test(`a UDP service that listens at ${address} alone is reached as udp:localhost`, async () => {
      const service = await udpAt(address)
      service.on('message', (data, from) => service.send(`${data}!`, from.port, from.address))
      ends.push(() => service.close())
      const port = await joined(`s=udp:localhost:${service.address().port}`, 's=udp:0')
      const client = await udpAt('127.0.0.1')
      ends.push(() => client.close())
      for (const words of ['first', 'second']) {
        client.send(words, port, '127.0.0.1')
        assert.equal(String((await once(client, 'message'))[0]), `${words}!`)
      }
    })

    test(`a TCP import at localhost listens at ${address}`, async () => {
      const service = await Service.open((socket) => socket.end('hello'))
      ends.push(() => service.close())
      const port = await joined(`s=${service.port}`, 's=localhost:0')
      assert.equal(await text(connect({ host: address, port })), 'hello')
    })

    test(`a UDP import at localhost listens at ${address}, and answers from there`, async () => {
      const service = await udpAt('127.0.0.1')
      service.on('message', (data, from) => service.send(`${data}!`, from.port, from.address))
      ends.push(() => service.close())
      const port = await joined(`s=udp:${service.address().port}`, 's=udp:localhost:0')
      const client = await udpAt(address)
      ends.push(() => client.close())
      client.connect(port, address)
      await once(client, 'connect')
      client.send('words')
      assert.equal(String((await once(client, 'message'))[0]), 'words!')
    })
  }

  test('a port that is taken at either address is taken', async () => {
    for (const address of ADDRESSES) {
      const taken = await udpAt(address)
      ends.push(() => taken.close())
      const imports = [{ ...parseShare(`s=udp:localhost:${taken.address().port}`), peer: SERVER }]
      const around = { clock: systemClock, log: new MemoryLog() }
      await assert.rejects(Forwarding.open({ exports: [], imports, wait: 1 }, around), {
        code: 'ADDRESS_IN_USE',
      })
    }
  })
})

test('where one of the addresses is not there the other does; where none is, that is told', async () => {
  const absent = Object.assign(new Error('not here'), { code: 'EADDRNOTAVAIL' })
  for (const missing of ['127.0.0.1', '::1']) {
    const opened = await openAtAll(
      { host: 'localhost', port: 7 },
      async (address, port) => {
        if (address === missing) throw absent
        return { address, port }
      },
      ({ port }) => port,
      async () => {},
    )
    assert.deepEqual(opened, [{ address: missing === '::1' ? '127.0.0.1' : '::1', port: 7 }])
  }
  const none = openAtAll(
    { host: 'localhost', port: 7 },
    () => Promise.reject(absent),
    () => 7,
    async () => {},
  )
  await assert.rejects(none, /not here/)
})

test('a port of the system that is free at one address alone is given back for another one', async () => {
  const closed: number[] = []
  let next = 100
  const opened = await openAtAll(
    { host: 'localhost', port: 0 },
    async (_address, port) => {
      if (port === 100 || port === 101) throw Object.assign(new Error('taken'), { code: 'EADDRINUSE' })
      return port === 0 ? next++ : port
    },
    (port) => port,
    async (port) => void closed.push(port),
  )
  assert.deepEqual(opened, [102, 102])
  assert.deepEqual(closed, [100, 101])
})
