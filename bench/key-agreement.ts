/**
 * What ML-KEM-768 beside X25519 costs: bytes of the messages by the kind of key, values of the DHT, and time, in a process
 * that does it for the first time and in one that has done it often.
 * `node dist/bench/key-agreement.js [processes=15]`
 */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { split } from '../rendezvous/dht/chunks.js'
import { type Host, parseIdentity } from '../src/identity/index.js'
import { CAN_KEM, encodeMessage, type Offer } from '../src/pairing/message.js'
import { NO_HINT } from '../src/punch/index.js'
import { ephemeral, KEM_CIPHERTEXT, KEM_KEY, mlKem768, seal } from '../src/sealing/index.js'
import { hostWith, KEYS } from './key-host.js'
import { median } from './median.js'

const NAME = parseIdentity('alice@example.com/laptop')

/** Bytes of a sealed invite or answer with three candidates, and the values of the DHT that it takes. */
async function size(host: Host, kind: 'invite' | 'answer', kem: number): Promise<string> {
  const candidates: Offer['candidates'] = [
    { kind: 'host', endpoint: { address: '192.168.1.2', port: 50_000 } },
    { kind: 'host', endpoint: { address: '2001:db8::7', port: 50_000 } },
    { kind: 'reflexive', endpoint: { address: '203.0.113.7', port: 50_000 } },
  ]
  const can = ['seek', 'spread', ...(kem > 0 ? [CAN_KEM] : [])]
  const key = randomBytes(32)
  const offer = { key, ...(kem > 0 ? { kem: randomBytes(kem) } : {}), candidates, nat: NO_HINT, can }
  const time = Date.now()
  const header = { from: NAME, to: NAME, app: 'vpn', session: 'a0'.repeat(16), time, expires: time }
  const body = kind === 'invite' ? { kind, reply: randomBytes(32), offer } : { kind, offer }
  const sealed = await seal(encodeMessage({ ...header, ...body }), host, host.certificate)
  const { chunks } = split(sealed, (data) => createHash('sha256').update(data).digest())
  return `${sealed.length} bytes in ${1 + chunks.length} values`
}

async function sizes(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'plexus-agreement-'))
  try {
    for (const [name, key] of Object.entries(KEYS)) {
      const host = await hostWith(join(directory, name), NAME, key)
      for (const [kind, kem] of [
        ['invite', KEM_KEY],
        ['answer', KEM_CIPHERTEXT],
      ] as const) {
        const [before, now] = [await size(host, kind, 0), await size(host, kind, kem)]
        process.stdout.write(`${name}, ${kind}: ${before}, with ML-KEM ${now}\n`)
      }
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** What each step takes, in ms, in this process: the first time, or the median of many times. */
async function steps(times: number): Promise<Record<string, number>> {
  const took: Record<string, number[]> = {}
  const timed = async <T>(name: string, work: () => T | Promise<T>): Promise<T> => {
    const start = performance.now()
    const made = await work()
    took[name] ??= []
    took[name].push(performance.now() - start)
    return made
  }
  await timed('load', () => mlKem768.load())
  for (let time = 0; time < times; time++) {
    const pair = await timed('pair', () => mlKem768.pair())
    const { ciphertext } = await timed('encapsulate', () => mlKem768.encapsulate(pair.publicKey))
    await timed('decapsulate', () => pair.decapsulate(ciphertext))
    await timed('X25519 pair', () => ephemeral())
  }
  return Object.fromEntries(Object.entries(took).map(([name, all]) => [name, median(all)]))
}

function write(title: string, took: Readonly<Record<string, number>>): void {
  const parts = Object.entries(took).map(([name, ms]) => `${name} ${ms.toFixed(2)}`)
  process.stdout.write(`${title}, ms: ${parts.join(', ')}\n`)
}

const [word = '15'] = process.argv.slice(2)
if (word === 'once') {
  process.stdout.write(JSON.stringify(await steps(1)))
} else {
  await sizes()
  const self = fileURLToPath(import.meta.url)
  const firsts = Array.from(
    { length: Number(word) },
    () =>
      JSON.parse(execFileSync(process.execPath, [self, 'once'], { encoding: 'utf8' })) as Record<
        string,
        number
      >,
  )
  const names = Object.keys(firsts[0] ?? {})
  write(
    `the first time, median of ${firsts.length} processes`,
    Object.fromEntries(names.map((name) => [name, median(firsts.map((each) => each[name] ?? Number.NaN))])),
  )
  write('after that, median of 1000', await steps(1000))
}
