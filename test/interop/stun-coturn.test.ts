import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { type Endpoint, formatEndpoint, silent, UdpPort } from '../../src/net/index.js'
import {
  type Attribute,
  compareMappings,
  decode,
  discover,
  encode,
  find,
  type Message,
  type Reflexive,
  StunServer,
  verifyFingerprint,
} from '../../src/stun/index.js'

const run = promisify(execFile)
const missing = (path: string) => (existsSync(path) ? false : 'coturn is not installed')
const surroundings = {
  clock: systemClock,
  random: systemRandom,
  log: silent,
  signal: new AbortController().signal,
}
/** How long coturn may take to start on a busy machine, in ms. */
const START = 20_000

function opened(t: TestContext): { port: UdpPort; local: Endpoint } {
  const port = UdpPort.open({ address: '127.0.0.1' })
  t.after(() => port.close())
  return { port, local: port.local(4) as Endpoint }
}

/** A coturn on both loopback addresses, of which all four endpoints answer; gone when the test is over. */
async function coturn(t: TestContext): Promise<{ main: Endpoint; servers: string[] }> {
  const directory = await mkdtemp(join(tmpdir(), 'plexus-coturn-'))
  const free = UdpPort.open({ address: '127.0.0.1' })
  const main = free.local(4) as Endpoint
  await free.close()
  const words = `-n --no-auth -L 127.0.0.1 -L 127.0.0.2 -p ${main.port} --no-tcp --no-tls --no-dtls --no-cli`
  const child = spawn(
    '/usr/bin/turnserver',
    [...words.split(' '), '--log-file', 'stdout', '--pidfile', join(directory, 'pid')],
    { stdio: 'ignore', cwd: directory },
  )
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill()
      await once(child, 'exit')
    }
    await rm(directory, { recursive: true, force: true })
  })
  await once(child, 'spawn')
  const { port } = opened(t)
  for (const address of ['127.0.0.1', '127.0.0.2']) {
    for (const number of [main.port, main.port + 1]) {
      await discover(port, [`${address}:${number}`], { ...surroundings, timeout: START })
    }
  }
  return { main, servers: [`127.0.0.1:${main.port}`, `127.0.0.2:${main.port}`] }
}

/** Asks once, with attributes of our choice; the loopback interface loses nothing. */
async function ask(t: TestContext, server: Endpoint, attributes: readonly Attribute[]) {
  const { port, local } = opened(t)
  const answer = new Promise<{ message: Message; from: Endpoint }>((resolve) => {
    port.listen(({ data, from }) => resolve({ message: decode(data), from }))
  })
  port.send(
    encode({ class: 'request', transaction: systemRandom(12), attributes, fingerprint: true }),
    server,
  )
  return { ...(await answer), local }
}

test('coturn: both of its addresses are asked at once, and show an endpoint-independent mapping', {
  skip: missing('/usr/bin/turnserver'),
}, async (t) => {
  const { servers } = await coturn(t)
  const { port, local } = opened(t)
  const answers: Reflexive[] = []
  await new Promise<void>((resolve, reject) => {
    const onAnswer = (answer: Reflexive) => {
      if (answers.push(answer) === 2) resolve()
    }
    discover(port, servers, { ...surroundings, onAnswer }).catch(reject)
  })
  for (const answer of answers) assert.deepEqual(answer.endpoint, local)
  assert.deepEqual(answers.map(({ server }) => formatEndpoint(server)).sort(), [...servers].sort())
  assert.equal(compareMappings(answers, 4), 'endpoint-independent')
})

test('coturn: its behaviour discovery answers from the other address and port, as it says', {
  skip: missing('/usr/bin/turnserver'),
}, async (t) => {
  const { main } = await coturn(t)
  const { message, from, local } = await ask(t, main, [{ name: 'CHANGE-REQUEST', address: true, port: true }])
  assert.equal(message.class, 'success')
  assert.deepEqual(from, { address: '127.0.0.2', port: main.port + 1 })
  assert.deepEqual(find(message, 'RESPONSE-ORIGIN')?.endpoint, from)
  assert.deepEqual(find(message, 'OTHER-ADDRESS')?.endpoint, from)
  assert.deepEqual(find(message, 'XOR-MAPPED-ADDRESS')?.endpoint, local)
  assert.ok(message.seals.fingerprint === undefined || verifyFingerprint(message))
})

test('coturn: its refusal of an unknown attribute reads as 420', {
  skip: missing('/usr/bin/turnserver'),
}, async (t) => {
  const { main } = await coturn(t)
  const { message } = await ask(t, main, [{ name: 'UNKNOWN', type: 0x7777, value: Buffer.alloc(4) }])
  assert.equal(message.class, 'error')
  assert.equal(find(message, 'ERROR-CODE')?.code, 420)
  assert.deepEqual(find(message, 'UNKNOWN-ATTRIBUTES')?.types, [0x7777])
})

async function served(t: TestContext, alternate?: Endpoint) {
  const listen = { address: '127.0.0.1', port: 0 }
  const server = await StunServer.open(
    alternate ? { listen, alternate, log: silent } : { listen, log: silent },
  )
  t.after(() => server.close())
  return String((server.endpoints[0] as Endpoint).port)
}

test('turnutils_stunclient gets its address', {
  skip: missing('/usr/bin/turnutils_stunclient'),
}, async (t) => {
  const port = await served(t)
  const { stdout } = await run('/usr/bin/turnutils_stunclient', ['-p', port, '127.0.0.1'], {
    timeout: START,
  })
  assert.match(stdout, /UDP reflexive addr: 127\.0\.0\.1:\d+/)
})

test('turnutils_natdiscovery finds that the loopback interface maps and filters nothing', {
  skip: missing('/usr/bin/turnutils_natdiscovery'),
}, async (t) => {
  const port = await served(t, { address: '127.0.0.2', port: 0 })
  for (const more of [[], ['-P']]) {
    const words = ['-m', '-f', ...more, '-p', port, '127.0.0.1']
    const { stdout } = await run('/usr/bin/turnutils_natdiscovery', words, { timeout: START })
    assert.match(stdout, /Other addr: : 127\.0\.0\.2:\d+/)
    assert.match(stdout, /NAT with Endpoint Independent Mapping!/)
    assert.match(stdout, /NAT with Endpoint Independent Filtering!/)
  }
})
