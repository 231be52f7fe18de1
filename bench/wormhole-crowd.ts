/**
 * A crowd at one tunnel: many connections at once, each echoing a megabyte, then many short ones, some at a time. Two real
 * `plexus wormhole` on this machine; prints what was wrong, memory and descriptors before, at the highest and after.
 *
 * `node dist/bench/wormhole-crowd.js [connections=1000] [short=10000] [kilobytes=1000]`
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UdpPort } from '../src/net/index.js'
import { systemClock } from '../src/system/index.js'
import { Program } from '../test/support/program.js'
import { ask, Service } from '../test/support/services.js'

/** How many short connections there are at a time: as a busy web page has them. */
const AT_A_TIME = 20

const [connections = 1000, short = 10_000, kilobytes = 1000] = process.argv.slice(2).map(Number)
const directory = mkdtempSync(join(tmpdir(), 'plexus-crowd-'))
const key = join(directory, 'key')
writeFileSync(key, randomBytes(32), { mode: 0o600 })
const echo = await Service.echo()
const ends = [freePort(), freePort()].map((port) => `127.0.0.1:${port}`)
const side = (purpose: string, service: number, [own, other]: string[]) =>
  new Program([
    'wormhole',
    `--purpose=${purpose}`,
    `--service=${service}`,
    `--gateway=${own}`,
    `--faraway=${other}`,
    `--key-file=${key}`,
  ])
const exporter = side('export', echo.port, ends)
const importer = side('import', 0, ends.toReversed())
try {
  await importer.said(/tunnel up/)
  const port = Number(/importing service at \S+:(\d+)/.exec(importer.stderr)?.[1])
  await ask(port, 'warm')
  await state('at the start')

  const data = randomBytes(kilobytes * 1000)
  const expected = createHash('sha256').update(data).digest('hex')
  let began = systemClock.now()
  const wrong = (await Promise.all(Array.from({ length: connections }, () => echoed(port, data)))).filter(
    (digest) => digest !== expected,
  ).length
  const seconds = (systemClock.now() - began) / 1000
  const rate = (2 * connections * data.length * 8) / seconds / 1e6
  console.log(
    `${connections} at once, ${kilobytes} kB each: ${wrong} wrong, ${seconds.toFixed(1)} s, ${rate.toFixed(0)} Mbit/s in sum`,
  )
  await state('after the crowd')

  began = systemClock.now()
  let failed = 0
  let next = 0
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      while (next < short) {
        const words = `connection ${next++}`
        if ((await ask(port, words).catch(() => '')) !== words) failed++
      }
    }),
  )
  const took = (systemClock.now() - began) / 1000
  console.log(
    `${short} short ones: ${failed} wrong, ${took.toFixed(1)} s, ${Math.round(short / took)} in a second`,
  )
  await state('after the short ones')
} finally {
  await Promise.all([importer.end(), exporter.end()])
  await echo.close()
  rmSync(directory, { recursive: true, force: true })
}

/** One connection, whose bytes are hashed and not kept. */
async function echoed(port: number, data: Buffer): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const hash = createHash('sha256')
  socket.on('data', (chunk) => hash.update(chunk))
  socket.end(data)
  try {
    await once(socket, 'end')
    return hash.digest('hex')
  } catch (thrown) {
    return String(thrown)
  }
}

async function state(when: string): Promise<void> {
  // what has ended is let go of within moments
  await new Promise<void>((resolve) => void systemClock.timer(2000, resolve))
  for (const [name, program] of Object.entries({ exporter, importer })) {
    const status = readFileSync(`/proc/${program.process.pid}/status`, 'utf8')
    const megabytes = (field: string) =>
      Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1000)
    const descriptors = readdirSync(`/proc/${program.process.pid}/fd`).length
    console.log(
      `  ${when}, ${name}: ${megabytes('VmRSS')} MB resident (highest ${megabytes('VmHWM')}), ${descriptors} descriptors`,
    )
  }
}

function freePort(): number {
  const port = UdpPort.open({ address: '127.0.0.1' })
  const number = port.local(4)?.port ?? 0
  void port.close()
  return number
}
