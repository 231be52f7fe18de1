import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { isAbort, PlexusError } from '../../src/errors/index.js'
import {
  type Datagram,
  type Endpoint,
  type Family,
  type Logger,
  silent,
  UdpPort,
} from '../../src/net/index.js'
import { type Candidate, DATAGRAM_LENGTH, type PunchDriverOptions, punch } from '../../src/punch/index.js'

const LOOPBACK: Readonly<Record<Family, string>> = { 4: '127.0.0.1', 6: '::1' }

interface Pair {
  readonly inviter: UdpPort
  readonly accepter: UdpPort
  options(role: 'inviter' | 'accepter', more?: Partial<PunchDriverOptions>): PunchDriverOptions
  close(): Promise<unknown>
}

function open(family: Family = 4): Pair {
  const inviter = UdpPort.open({ address: LOOPBACK[family] })
  const accepter = UdpPort.open({ address: LOOPBACK[family] })
  const keys = { inviter: randomBytes(32), accepter: randomBytes(32) }
  const ports = { inviter, accepter }
  return {
    inviter,
    accepter,
    options(role, more = {}) {
      const peer = ports[role === 'inviter' ? 'accepter' : 'inviter']
      const remote: Candidate[] = [{ kind: 'host', endpoint: local(peer, family) }]
      const signal = new AbortController().signal
      const common = { role, keys, remote, hops: 7, patience: 1_000, timeout: 20_000, signal }
      return { ...common, clock: systemClock, random: systemRandom, log: silent, ...more }
    },
    close: () => Promise.all([inviter.close(), accepter.close()]),
  }
}

function local(port: UdpPort, family: Family = 4): Endpoint {
  return port.local(family) ?? assert.fail('not bound')
}

function hasIPv6(): boolean {
  try {
    void UdpPort.open({ address: '::1' }).close()
    return true
  } catch {
    return false
  }
}

for (const family of [4, 6] as const) {
  const skip = family === 6 && !hasIPv6() ? 'no IPv6 on this machine' : false
  test(`two ports find each other over IPv${family}, and can be used afterwards`, { skip }, async () => {
    const pair = open(family)
    const inviter = punch(pair.inviter, pair.options('inviter'))
    const accepter = punch(pair.accepter, pair.options('accepter'))
    const [a, b] = await Promise.all([inviter.result, accepter.result])
    assert.deepEqual(a.peer, local(pair.accepter, family))
    assert.deepEqual(b.peer, local(pair.inviter, family))
    assert.deepEqual(a.outer, local(pair.inviter, family))
    const arrived = new Promise<Datagram>((resolve) => {
      pair.accepter.listen((datagram) => datagram.data.length !== DATAGRAM_LENGTH && resolve(datagram))
    })
    pair.inviter.send(Buffer.from('hello'), a.peer)
    assert.equal((await arrived).data.toString(), 'hello')
    await pair.close()
  })
}

test('STUN, noise and data at the port go to whoever else listens, and to onUnclaimed', async () => {
  const pair = open()
  const stun = Buffer.alloc(DATAGRAM_LENGTH)
  stun.set(Buffer.from('010100002112a442', 'hex'))
  const foreign = [stun, randomBytes(DATAGRAM_LENGTH), Buffer.from('x')]
  const unclaimed: Buffer[] = []
  const heard: Buffer[] = []
  const stop = pair.accepter.listen(({ data }) => {
    if (foreign.some((one) => one.equals(data))) heard.push(data)
  })
  const controller = new AbortController()
  const claimed = new Promise<void>((resolve) => {
    const onUnclaimed = ({ data }: Datagram) => {
      unclaimed.push(data)
      if (unclaimed.length === foreign.length) resolve()
    }
    const { signal } = controller
    const running = punch(pair.accepter, pair.options('accepter', { onUnclaimed, signal, remote: [] }))
    running.result.catch(() => {})
  })
  for (const data of foreign) pair.inviter.send(data, local(pair.accepter))
  await claimed
  assert.deepEqual(unclaimed, foreign)
  assert.deepEqual(heard, foreign)
  stop()
  controller.abort()
  await pair.close()
})

test('a pairing under noise comes about all the same', async () => {
  const pair = open()
  const noise = UdpPort.open({ address: LOOPBACK[4] })
  const accepter = punch(pair.accepter, pair.options('accepter'))
  for (let n = 0; n < 500; n++) {
    noise.send(randomBytes(n % 2 === 0 ? DATAGRAM_LENGTH : n), local(pair.accepter))
  }
  const inviter = punch(pair.inviter, pair.options('inviter'))
  const [a, b] = await Promise.all([inviter.result, accepter.result])
  assert.deepEqual([a.peer, b.peer], [local(pair.accepter), local(pair.inviter)])
  await Promise.all([pair.close(), noise.close()])
})

test('without a peer it rejects with a sentence that says what was tried', async () => {
  const pair = open()
  const { result } = punch(pair.inviter, pair.options('inviter', { timeout: 60 }))
  await assert.rejects(result, (error) => {
    assert.ok(error instanceof PlexusError)
    assert.equal(error.code, 'PUNCH_TIMEOUT')
    assert.match(error.message, /1 endpoint of the peer was tried, nothing valid was heard from the peer\.$/)
    return true
  })
  await pair.close()
})

test('aborting rejects with the reason of the signal, and the peer learns why', async () => {
  const pair = open()
  const controller = new AbortController()
  // keeps the inviter from nominating: it hears nothing, but is heard
  const deaf = UdpPort.open({ address: LOOPBACK[4] })
  const accepter = punch(pair.accepter, pair.options('accepter'))
  const inviter = punch(deaf, pair.options('inviter', { signal: controller.signal }))
  const failed = assert.rejects(
    accepter.result,
    (error) =>
      error instanceof PlexusError && error.code === 'PEER_ABORTED' && /CANCELLED/.test(error.message),
  )
  controller.abort(new PlexusError('CANCELLED', 'Enough.'))
  await assert.rejects(inviter.result, isAbort)
  await failed
  await Promise.all([pair.close(), deaf.close()])
})

test('a signal that has aborted already keeps it from sending anything', async () => {
  const pair = open()
  const signal = AbortSignal.abort(new PlexusError('CANCELLED', 'Enough.'))
  await assert.rejects(punch(pair.inviter, pair.options('inviter', { signal })).result, isAbort)
  assert.equal(pair.inviter.traffic.sent, 0)
  await pair.close()
})

test('candidates given later are used, and the log tells the path without a secret', async () => {
  const pair = open()
  const lines: { level: string; fields: object; message: string }[] = []
  const log: Logger = {
    ...silent,
    trace: (fields, message) => lines.push({ level: 'trace', fields, message }),
    debug: (fields, message) => lines.push({ level: 'debug', fields, message }),
    info: (fields, message) => lines.push({ level: 'info', fields, message }),
  }
  const options = pair.options('inviter', { log })
  const inviter = punch(pair.inviter, { ...options, remote: [] })
  const accepter = punch(pair.accepter, pair.options('accepter', { remote: [] }))
  inviter.addCandidates(options.remote)
  await Promise.all([inviter.result, accepter.result])
  const stories = lines.filter(({ level }) => level === 'info').map(({ message }) => message)
  assert.deepEqual(stories, [`the path is host 127.0.0.1:${local(pair.accepter).port}`])
  assert.ok(lines.some(({ level, message }) => level === 'debug' && /checked host/.test(message)))
  const text = JSON.stringify(lines)
  for (const key of [options.keys.inviter, options.keys.accepter]) {
    assert.ok(!text.includes(key.toString('hex')) && !text.includes(key.toString('base64')))
  }
  await pair.close()
})

test('when it is over, no timer and no listener is left', async () => {
  const timers = new Set<object>()
  const clock = {
    ...systemClock,
    timer(ms: number, callback: () => void) {
      const token = {}
      timers.add(token)
      const cancel = systemClock.timer(ms, () => {
        timers.delete(token)
        callback()
      })
      return () => {
        timers.delete(token)
        cancel()
      }
    },
  }
  const controller = new AbortController()
  const pair = open()
  const inviter = punch(pair.inviter, pair.options('inviter', { clock, signal: controller.signal }))
  const accepter = punch(pair.accepter, pair.options('accepter', { clock }))
  await Promise.all([inviter.result, accepter.result])
  assert.equal(timers.size, 0)
  const sent = pair.inviter.traffic.sent
  const aborted = once(controller.signal, 'abort')
  controller.abort()
  await aborted
  inviter.addCandidates([{ kind: 'host', endpoint: local(pair.accepter) }])
  assert.equal(pair.inviter.traffic.sent, sent)
  assert.equal(timers.size, 0)
  await pair.close()
})
