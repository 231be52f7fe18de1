/**
 * How long the program takes to say its version and its help, against a bare node, and until it asks its first STUN server
 * when it pairs; side by side, with another version too if one is named.
 *
 *     node dist/bench/startup.js [rounds=20] [other checkout, built]
 */
import { spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createIdentity, parseIdentity } from '../src/identity/index.js'
import { systemClock, systemRandom } from '../src/system/index.js'
import { median } from './median.js'

const HERE = fileURLToPath(new URL('../..', import.meta.url))
const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

const rounds = Number(process.argv[2] ?? 20)
const other = process.argv[3]

const directory = await mkdtemp(join(tmpdir(), 'plexus-startup-'))
const repository = join(directory, 'repo')
for (const name of [ALICE, BOB]) {
  const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
  await createIdentity(repository, parseIdentity(name), options)
}
const server = createSocket('udp4')
server.bind(0, '127.0.0.1')
await once(server, 'listening')

const mainOf = (checkout: string) => join(checkout, 'dist/bin/cli/main.js')

function untilEnded(...args: string[]): void {
  const { status } = spawnSync(process.execPath, args, { stdio: 'ignore' })
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}`)
}

/** An inviter, until its first question has come; nobody answers it. */
async function untilAsked(main: string): Promise<void> {
  const flags = [
    `--app-repo=${repository}`,
    `--host-info=${ALICE}`,
    `--peer-info=${BOB}`,
    '--exec-command=/bin/true',
    `--stun-server=127.0.0.1:${server.address().port}`,
    '--rendezvous=dht:',
    '--dht-bootstrap=127.0.0.1:9',
    `--state-dir=${join(directory, 'state')}`,
  ]
  const child = spawn(process.execPath, [main, ...flags], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  const early = await Promise.race([once(server, 'message').then(() => undefined), ended])
  child.kill('SIGKILL')
  if (early) throw new Error(`${main} ended with ${early[0]} before it asked anything`)
  asked = performance.now()
  await ended
}

let asked = 0
const MAIN = mainOf(HERE)
const CASES: Readonly<Record<string, () => void | Promise<void>>> = {
  'node -e 0': () => untilEnded('-e', '0'),
  'plexus --version': () => untilEnded(MAIN, '--version'),
  'plexus --help': () => untilEnded(MAIN, '--help'),
  'to the first question': () => untilAsked(MAIN),
  ...(other === undefined ? {} : { 'the other version, to it': () => untilAsked(mainOf(resolve(other))) }),
}

const times = new Map(Object.keys(CASES).map((name) => [name, [] as number[]]))
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of Object.entries(CASES)) {
    const began = performance.now()
    asked = 0
    await run()
    times.get(name)?.push((asked || performance.now()) - began)
  }
}
server.close()
await rm(directory, { recursive: true, force: true })

const bare = median(times.get('node -e 0') ?? [])
for (const [name, list] of times) {
  const ms = median(list)
  console.log(
    `${name.padEnd(24)} ${ms.toFixed(1).padStart(6)} ms   ${(ms / bare).toFixed(2)} times node -e 0`,
  )
}
