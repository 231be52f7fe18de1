import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Datagram, silent, UdpPort } from '../../src/net/index.js'
import { type HandshakeDriverOptions, handshake } from '../../src/plexus3/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'

const SECRET = 0x1122_3344_5566_7788n

interface Ends {
  readonly inviter: UdpPort
  readonly accepter: UdpPort
  options(role: 'inviter' | 'accepter', more?: Partial<HandshakeDriverOptions>): HandshakeDriverOptions
}

async function between(run: (ends: Ends) => Promise<void>): Promise<void> {
  const inviter = UdpPort.open({ address: '127.0.0.1' })
  const accepter = UdpPort.open({ address: '127.0.0.1' })
  const ports = { inviter, accepter }
  const common = { clock: systemClock, random: systemRandom, log: silent, hops: 7, timeout: 20_000 }
  const signal = new AbortController().signal
  const options: Ends['options'] = (role, more = {}) => {
    const peer = ports[role === 'inviter' ? 'accepter' : 'inviter'].local(4) ?? assert.fail('not bound')
    return { role, secret: SECRET, peer, signal, ...common, ...more }
  }
  try {
    await run({ inviter, accepter, options })
  } finally {
    await Promise.all([inviter.close(), accepter.close()])
  }
}

test('two ports do the handshake, and can be used afterwards', () =>
  between(async ({ inviter, accepter, options }) => {
    const results = await Promise.all([
      handshake(inviter, options('inviter')),
      handshake(accepter, options('accepter')),
    ])
    assert.deepEqual(results, [{ acknowledged: true }, { acknowledged: true }])
    const arrived = new Promise<Datagram>((resolve) => {
      accepter.listen((datagram) => {
        if (datagram.data.length !== 8) resolve(datagram)
      })
    })
    inviter.send(Buffer.from('hello there'), accepter.local(4) ?? assert.fail('not bound'))
    assert.equal((await arrived).data.toString(), 'hello there')
  }))

test('what is no datagram of the handshake is passed on', () =>
  between(async ({ inviter, accepter, options }) => {
    const passed = new Promise<Datagram>((resolve) => {
      const accepting = options('accepter', { onUnclaimed: resolve })
      void handshake(accepter, accepting)
    })
    inviter.send(Buffer.from('hello'), accepter.local(4) ?? assert.fail('not bound'))
    assert.equal((await passed).data.toString(), 'hello')
    await handshake(inviter, options('inviter'))
  }))

for (const role of ['inviter', 'accepter'] as const) {
  test(`the ${role} ends with the reason of its signal, before and during`, () =>
    between(async (ends) => {
      const reason = new Error('enough')
      await assert.rejects(
        handshake(ends[role], ends.options(role, { signal: AbortSignal.abort(reason) })),
        reason,
      )
      const controller = new AbortController()
      const running = handshake(ends[role], ends.options(role, { signal: controller.signal }))
      controller.abort(reason)
      await assert.rejects(running, reason)
    }))

  test(`the ${role} of a peer that says nothing gives up when the time is up`, () =>
    between(async (ends) => {
      const running = handshake(ends[role], ends.options(role, { timeout: 20 }))
      await assert.rejects(running, { code: 'PUNCH_TIMEOUT', message: /was not heard/ })
    }))
}
