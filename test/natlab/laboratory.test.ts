import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import { test } from 'node:test'
import { Fixture, patience, skip, until } from './fixture.js'
import { Lab, type RemoteSocket, type SideType } from './index.js'

const fixture = new Fixture()

/** The TTL of an opening packet, and one that reaches everything. */
const LOW = 7
const FULL = 64
const PORT = 40_000

/** The types of ICMP "time exceeded" (RFC 792, RFC 4443). */
const EXPIRED = { 4: 11, 6: 3 } as const

const ENDS: SideType[] = ['public', 'port-restricted', 'double']

test('a TTL of 7 passes the own NATs and dies before those of the peer', { skip }, async (t) => {
  for (const from of ENDS) {
    for (const to of ENDS) {
      await t.test(`${from} to ${to}`, async () => {
        const a = await fixture.place(from, { ipv6: true })
        const b = await fixture.place(to, { ipv6: true })
        const filter = `(udp and dst port ${PORT}) or icmp or icmp6`
        const leaving = await fixture.lab.capture(a.side.border, filter)
        const returning = await fixture.lab.capture(a.side, filter)
        const arriving = await fixture.lab.capture(b.side.border, filter)
        for (const [family, own, peer] of [
          [4, a.side.address, b.side.publicAddress],
          [6, a.side.address6, b.side.address6],
        ] as const) {
          assert.ok(own !== undefined && peer !== undefined)
          const socket = await a.agent.open(own)
          await socket.send(`low ${family}`, { address: peer, port: PORT }, LOW)
          await socket.send(`full ${family}`, { address: peer, port: PORT }, FULL)
          const low = await leaving.packet(
            ({ payload }) => payload.toString() === `low ${family}`,
            patience(),
          )
          assert.equal(low.ttl, LOW - a.side.nats.length)
          const expired = await returning.packet(
            (packet) => packet.family === family && packet.payload[0] === EXPIRED[family],
            patience(),
          )
          assert.equal(expired.destination.address, own)
          const full = await arriving.packet(
            ({ payload }) => payload.toString() === `full ${family}`,
            patience(),
          )
          // the provider of each side and the core
          assert.equal(full.ttl, FULL - a.side.nats.length - 9)
        }
        await Promise.all([leaving, returning, arriving].map((capture) => capture.stop()))
        assert.deepEqual(
          arriving.packets.filter(({ payload }) => payload.toString().startsWith('low')),
          [],
        )
        await Promise.all([a.agent.stop(), b.agent.stop()])
      })
    }
  }
})

/** How many of `count` datagrams arrive. */
async function arrivals(from: RemoteSocket, to: RemoteSocket, address: string, count: number) {
  const before = to.received.length
  for (let i = 0; i < count; i++) {
    await from.send(`${i}`, { address, port: to.port })
    // the receiver answers in between, so its buffer never fills up
    if (i % 50 === 49) await to.send('nothing', { address: '127.0.0.1', port: 9 })
  }
  const settled = `settled ${before}`
  await fixture.lab.loss(0)
  await from.send(settled, { address, port: to.port })
  await to.receive(settled, patience())
  return to.received.length - before - 1
}

test('loss: of the packets between sides a share is lost, of others none', { skip }, async () => {
  const a = await fixture.place('public')
  const b = await fixture.place('public')
  const [socketA, socketB] = await Promise.all([a.agent.open(), b.agent.open()])
  const server = await fixture.server.open(fixture.address(0))
  const count = 1000
  for (const [from, to, side] of [
    [socketA, socketB, b.side],
    [socketB, socketA, a.side],
  ] as const) {
    await fixture.lab.loss(20)
    const lost = count - (await arrivals(from, to, side.publicAddress, count))
    // 20% with a standard deviation of 12.6: six of them are met once in 500 million runs
    assert.ok(Math.abs(lost - 200) < 76, `${lost} of ${count} were lost`)
  }
  await fixture.lab.loss(20)
  assert.equal(await arrivals(socketA, server, fixture.address(0), 200), 200)
  await fixture.lab.loss(100, { servers: true })
  assert.equal(await arrivals(socketA, server, fixture.address(0), 20), 0)
  assert.equal(await arrivals(socketA, socketB, b.side.publicAddress, 20), 20)
  await server.close()
  await Promise.all([a.agent.stop(), b.agent.stop()])
})

function namespaces(owner: number | undefined): string[] {
  return readdirSync('/run/netns').filter((name) => name.startsWith(`plxlab-${owner}-`))
}

test('close kills what runs inside and removes every namespace', { skip }, async () => {
  const before = namespaces(process.pid)
  const lab = await Lab.open()
  const side = await lab.side('a', 'port-restricted')
  assert.ok(namespaces(process.pid).length > before.length)
  const child = side.spawn('sh', ['-c', 'setsid sleep 1000 & echo $!; wait'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  assert.ok(child.stdout)
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data', { signal: patience() })
  const ended = once(child, 'close', { signal: patience() })
  await lab.close()
  await ended
  await until(() => gone(Number(line)))
  assert.deepEqual(namespaces(process.pid), before)
})

test('what the owner left is removed when it is killed', { skip }, async () => {
  const index = new URL('index.js', import.meta.url).href
  const script = `const { Lab } = await import(${JSON.stringify(index)})
    const side = await (await Lab.open()).side('a', 'double')
    console.log(side.spawn('sleep', ['1000'], { stdio: 'ignore' }).pid)`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(owner.stdout.setEncoding('utf8'), 'data', { signal: patience() })
  assert.ok(namespaces(owner.pid).length > 0)
  owner.kill('SIGKILL')
  await until(() => namespaces(owner.pid).length === 0 && gone(Number(line)))
})

test('what nobody removed is removed when the next laboratory opens', { skip }, async () => {
  const { pid } = spawnSync('true')
  assert.equal(spawnSync('ip', ['netns', 'add', `plxlab-${pid}-1-a`]).status, 0)
  const lab = await Lab.open()
  assert.deepEqual(namespaces(pid), [])
  await lab.close()
})

test('a program that runs inside is heard, and its exit code known', { skip }, async () => {
  const { lab } = fixture
  const { stdout, status } = await lab.servers.exec('sh', ['-c', 'cat; exit 3'], { input: 'heard' })
  assert.deepEqual({ stdout, status }, { stdout: 'heard', status: 3 })
  const ended = await lab.servers.exec('no-such-program')
  assert.equal(ended.status, 127)
  const signal = AbortSignal.timeout(50)
  await assert.rejects(lab.servers.exec('sleep', ['1000'], { signal }), (error) => error === signal.reason)
})

/** Whether a process has ended; one that only waits to be reaped has, and has no namespaces any more. */
function gone(pid: number): boolean {
  try {
    readlinkSync(`/proc/${pid}/ns/net`)
    return false
  } catch {
    return true
  }
}
