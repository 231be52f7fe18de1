import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asPlexusError, PlexusError } from '../../src/errors/index.js'
import { type Clock, parseEndpoint, silent, UdpPort } from '../../src/net/index.js'
import { type EarlyEnd, giveUpEarly } from '../../src/pairing/outlook.js'
import { blocked } from '../../src/pairing/reachability.js'
import { type NatHint, NO_HINT, type Prospect } from '../../src/punch/index.js'
import { discover } from '../../src/stun/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'

/** A clock that stands still until it is turned. */
class HandClock implements Clock {
  #now = 0
  #timers: { at: number; run: () => void }[] = []
  now = () => this.#now
  date = () => this.#now
  timer = (ms: number, run: () => void) => {
    const timer = { at: this.#now + ms, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer)
    }
  }

  get waiting(): number {
    return this.#timers.length
  }

  async turn(until: number): Promise<void> {
    for (;;) {
      await Promise.resolve()
      const [next] = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)
      if (!next) break
      this.#now = next.at
      this.#timers = this.#timers.filter((one) => one !== next)
      next.run()
    }
    this.#now = until
  }
}

const RANDOM = { mapping: 'address-dependent', allocation: { kind: 'random' } } as const
const side = (address: string, nat: Partial<NatHint>): Prospect => ({
  nat: { ...NO_HINT, ...nat },
  candidates: [{ kind: 'reflexive', endpoint: parseEndpoint(`${address}:4000`) }],
  seek: true,
  sockets: 512,
})
const FAILURE = new PlexusError('STUN_UNREACHABLE', 'No STUN server answered.')

function watch(more: Partial<EarlyEnd>) {
  const clock = new HandClock()
  const reasons: PlexusError[] = []
  const stop = giveUpEarly(clock, {
    gathering: { failure: undefined, portMapping: undefined },
    base: 1000,
    heard: () => false,
    prospects: () => ({ own: side('203.0.113.1', RANDOM), peer: side('203.0.113.2', RANDOM) }),
    give: (reason) => reasons.push(reason),
    ...more,
  })
  return { clock, reasons, stop }
}

test('what cannot work is given up some seconds after both sides began, once, and no sooner', async () => {
  const { clock, reasons } = watch({})
  await clock.turn(6999)
  assert.deepEqual(reasons, [])
  await clock.turn(60_000)
  assert.deepEqual(
    reasons.map(({ code }) => code),
    ['NO_PATH'],
  )
  assert.equal(clock.waiting, 0)
})

test('hints that come late count when they come', async () => {
  let known = false
  const { clock, reasons } = watch({
    prospects: () => ({
      own: side('203.0.113.1', RANDOM),
      peer: side('203.0.113.2', known ? RANDOM : {}),
    }),
  })
  await clock.turn(20_000)
  assert.deepEqual(reasons, [])
  known = true
  await clock.turn(21_000)
  assert.equal(reasons.length, 1)
})

test('a peer that was heard, and a router that has not answered yet, keep it going', async () => {
  const heard = watch({ heard: () => true })
  await heard.clock.turn(60_000)
  assert.deepEqual(heard.reasons, [])
  heard.stop()
  let resolve = () => {}
  const asked = new Promise<void>((settle) => {
    resolve = settle
  })
  const portMapping = { asked } as unknown as EarlyEnd['gathering']['portMapping']
  const { clock, reasons } = watch({ gathering: { failure: undefined, portMapping } })
  await clock.turn(12_000)
  assert.deepEqual(reasons, [])
  resolve()
  await clock.turn(13_000)
  assert.equal(reasons.length, 1)
})

test('no STUN server and no peer: UDP is blocked', async () => {
  const prospects = () => ({ own: side('203.0.113.1', {}), peer: side('203.0.113.2', {}) })
  const { clock, reasons } = watch({ gathering: { failure: FAILURE, portMapping: undefined }, prospects })
  await clock.turn(7999)
  assert.deepEqual(reasons, [])
  await clock.turn(8000)
  assert.deepEqual(
    reasons.map(({ code }) => code),
    ['UDP_BLOCKED'],
  )
})

/** What the STUN servers of these names come to, where names resolve to what is given, or fail with a code. */
async function failureOf(names: Readonly<Record<string, readonly string[] | string>>): Promise<PlexusError> {
  const port = UdpPort.open({ address: '127.0.0.1' })
  const { signal } = new AbortController()
  try {
    const options = { clock: systemClock, random: systemRandom, log: silent, signal, timeout: 300 }
    await discover(port, Object.keys(names), {
      ...options,
      resolve: async (host) => {
        const found = Object.entries(names).find(([name]) => name.split(':')[0] === host)?.[1] ?? 'ENOTFOUND'
        if (typeof found !== 'string') return found.map((address) => ({ address }))
        throw Object.assign(new Error(found), { code: found })
      },
    })
    return assert.fail('somebody answered')
  } catch (thrown) {
    return asPlexusError(thrown)
  } finally {
    await port.close()
  }
}

test('where no name resolves, that is the cause, and nobody is said to have waited', async () => {
  const cases: Record<string, string>[] = [
    { 'one.test': 'ENOTFOUND' },
    { 'one.test': 'EAI_AGAIN', 'two.test': 'ENOTFOUND' },
    { 'one.test:3479': 'ENOTFOUND', 'two.test': 'ENOTFOUND', 'three.test': 'ESERVFAIL' },
  ]
  for (const names of cases) {
    const failure = await failureOf(names)
    assert.equal(failure.code, 'STUN_UNREACHABLE')
    assert.doesNotMatch(failure.message, /within/)
    const told = blocked(failure, 'dht does not answer')
    assert.equal(told.code, 'STUN_UNREACHABLE')
    assert.match(told.message, /Names do not resolve on this machine \(DNS\)/)
    assert.doesNotMatch(told.message, /UDP/)
    assert.match(told.advice ?? '', /DNS configuration/)
  }
})

test('where somebody was asked in vain UDP may be blocked, and how long that was is told', async () => {
  const mute = UdpPort.open({ address: '127.0.0.1' })
  const { port } = mute.local(4) ?? { port: 9 }
  try {
    const cases: Record<string, readonly string[] | string>[] = [
      { [`one.test:${port}`]: ['127.0.0.1'] },
      { [`one.test:${port}`]: ['127.0.0.1'], 'two.test': 'ENOTFOUND' },
      { [`127.0.0.1:${port}`]: [] },
    ]
    for (const names of cases) {
      const failure = await failureOf(names)
      assert.match(failure.message, /within 1 s/)
      assert.equal(blocked(failure, 'dht does not answer').code, 'UDP_BLOCKED')
    }
  } finally {
    await mute.close()
  }
})

test('what is stopped leaves no timer', () => {
  const { clock, stop } = watch({})
  stop()
  assert.equal(clock.waiting, 0)
})
