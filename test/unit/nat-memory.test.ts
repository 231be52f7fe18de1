import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/cli/clock.js'
import { NatMemory, type NatReport, parseRemembered } from '../../src/nat/index.js'
import { type Clock, silent } from '../../src/net/index.js'

const BEHAVIOUR = {
  mapping: 'address-and-port-dependent',
  filtering: 'address-and-port-dependent',
  allocation: { kind: 'sequential', step: 2 },
  pooling: 'paired',
} as const

/** A report of a symmetric NAT, measured at `measured`. */
function report(measured: number, udp: NatReport['udp'] = 'open'): NatReport {
  return {
    measured,
    took: 900,
    udp,
    ipv4: {
      family: 4,
      own: '192.168.1.2',
      publicAddresses: ['203.0.113.7'],
      translated: true,
      ...BEHAVIOUR,
      hairpin: 'no',
      unasked: 'dropped',
      hops: undefined,
      samples: [],
      rtt: 20,
      missing: [],
    },
    ipv6: undefined,
    carrier: { verdict: 'unknown', why: '' },
    portMapping: { is: 'unknown', why: '' },
    servers: [],
    missing: [],
    evidence: [],
  }
}

async function place(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'plexus-nat-memory-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return join(directory, 'behaviour')
}

/** A clock whose date is set by hand. */
function dated(date: { now: number }): Clock {
  return { ...systemClock, now: () => systemClock.now(), date: () => date.now, timer: systemClock.timer }
}

const options = { log: silent, gateway: async () => '192.168.1.1' }
const never = new AbortController().signal

test('what was measured is known to the next process of this network, and to nobody else', async (t) => {
  const file = await place(t)
  const first = await NatMemory.open({ ...options, clock: systemClock, file })
  assert.equal(first.current(), undefined)
  await first.keep(report(systemClock.date()))
  assert.deepEqual(first.current(), BEHAVIOUR)
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(join(file, '..')), ['behaviour'])
  assert.doesNotMatch(await readFile(file, 'utf8'), /192\.168|203\.0/)

  const next = await NatMemory.open({ ...options, clock: systemClock, file })
  assert.deepEqual(next.current(), BEHAVIOUR)
  const elsewhere = await NatMemory.open({
    ...options,
    gateway: async () => '10.0.0.1',
    clock: systemClock,
    file,
  })
  assert.equal(elsewhere.current(), undefined)
})

test('it is forgotten after a day, and when the clock was set back', async (t) => {
  const date = { now: systemClock.date() }
  const memory = await NatMemory.open({ ...options, clock: dated(date), file: await place(t) })
  await memory.keep(report(date.now))
  date.now += 23 * 3600_000
  assert.deepEqual(memory.current(), BEHAVIOUR)
  date.now += 2 * 3600_000
  assert.equal(memory.current(), undefined)
  date.now -= 40 * 3600_000
  assert.equal(memory.current(), undefined)
})

test('nothing is learned from silence, and what was seen in part is kept for this process alone', async (t) => {
  const file = await place(t)
  const memory = await NatMemory.open({ ...options, clock: systemClock, file })
  await memory.keep(report(systemClock.date(), 'blocked'))
  assert.equal(memory.current(), undefined)
  await memory.keep(report(systemClock.date()), { brief: true })
  assert.deepEqual(memory.current(), BEHAVIOUR)
  assert.deepEqual(await readdir(join(file, '..')), [])
})

test('a disk that takes nothing keeps nothing from being known', async () => {
  const memory = await NatMemory.open({ ...options, clock: systemClock, file: '/proc/self/no/such/file' })
  await memory.keep(report(systemClock.date()))
  assert.deepEqual(memory.current(), BEHAVIOUR)
})

test('asking begins a measurement when nothing is known, and only one at a time', async () => {
  const memory = await NatMemory.open({ ...options, clock: systemClock })
  let measured = 0
  const measure = async () => {
    measured++
    return report(systemClock.date())
  }
  const current = memory.watch(measure, never)
  assert.equal(current(), undefined)
  await memory.settled()
  assert.deepEqual(current(), BEHAVIOUR)
  assert.equal(measured, 1)
})

test('a measurement that fails, or is ended, harms nobody', async () => {
  const memory = await NatMemory.open({ ...options, clock: systemClock })
  const controller = new AbortController()
  const current = memory.watch(
    (signal) =>
      new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
      ),
    controller.signal,
  )
  controller.abort(new Error('the end'))
  await memory.settled()
  assert.equal(current(), undefined)
})

test('a file that nobody of us has written is none', async (t) => {
  const good = { network: 'x', measured: 1, behaviour: BEHAVIOUR }
  assert.deepEqual(parseRemembered(JSON.stringify(good)), good)
  for (const bad of [
    '',
    '{',
    'null',
    '[]',
    '"x"',
    JSON.stringify({ ...good, network: 5 }),
    JSON.stringify({ ...good, measured: '1' }),
    JSON.stringify({ ...good, behaviour: null }),
    JSON.stringify({ ...good, behaviour: { ...BEHAVIOUR, mapping: 'none' } }),
    JSON.stringify({ ...good, behaviour: { ...BEHAVIOUR, allocation: { kind: 'sequential', step: 0 } } }),
    JSON.stringify({ ...good, behaviour: { ...BEHAVIOUR, allocation: { kind: 'sequential', step: 1.5 } } }),
    JSON.stringify({ ...good, behaviour: { ...BEHAVIOUR, pooling: 'x'.repeat(5000) } }),
  ]) {
    assert.equal(parseRemembered(bad), undefined, bad)
    const file = await place(t)
    await writeFile(file, bad)
    assert.equal((await NatMemory.open({ ...options, clock: systemClock, file })).current(), undefined)
  }
})
