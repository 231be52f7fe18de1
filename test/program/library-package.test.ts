import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Consumer } from '../support/consumer.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { version: string }

/** The programs of docs/library.md that are meant to be run. */
function examples(): string[] {
  const text = readFileSync(`${ROOT}docs/library.md`, 'utf8')
  return [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, program]) => program ?? '')
}

/** The two sides of docs/library.md's example of tunnels, joined by a pairing. */
function tunnelExample(): string {
  const text = readFileSync(`${ROOT}docs/library.md`, 'utf8')
  const example = /^```ts tunnel\n(.*?)^```/ms.exec(text)?.[1] ?? ''
  return `${example}
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { accept, createIdentity, invite } from 'plexus'

const scratch = await mkdtemp(join(tmpdir(), 'tunnel-'))
const repository = join(scratch, 'repository')
for (const name of ['alice@example.com/laptop', 'bob@example.com/server'])
  await createIdentity(repository, name, { key: 'ec' })
const common = { repository, rendezvous: \`dir:\${join(scratch, 'meeting')}\`, timeout: 20_000 }
const accepting = accept({ ...common, host: 'bob@example.com/server' })
const serving = accepting.next().then(({ value }) => serve(value))
const passage = await invite({ ...common, host: 'alice@example.com/laptop', peer: 'bob@example.com/server' })
process.stdout.write(await ask(passage))
await (await serving).over
await accepting.return?.()
await rm(scratch, { recursive: true, force: true })
`
}

/** Uses each export by its type, so that a declaration that is missing or is `any` does not compile. */
const CONSUMER = `
import {
  accept, createIdentity, DEFAULT_STUN_SERVERS, decodeStun, discover, ERROR_CODES, encodeStun, type ErrorCode,
  formatIdentity, invite, openRendezvous, type Passage, parseIdentity, PlexusError, type Rendezvous, Repository,
  silent, StunServer, UdpPort, type AcceptOptions, type InviteOptions,
} from 'plexus'
import { type ConformanceCheck, conformanceChecks } from 'plexus/conformance'
import type { OpenRendezvous } from 'plexus/rendezvous'

type IsAny<T> = 0 extends 1 & T ? true : false
const no = <T>(_: IsAny<T> extends true ? never : 'typed') => {}
no<Passage>('typed')
no<Passage['socket']>('typed')
no<Parameters<typeof invite>[0]>('typed')
no<ReturnType<typeof decodeStun>>('typed')
no<Repository>('typed')
no<Awaited<ReturnType<Repository['host']>>['certificate']>('typed')
no<Parameters<OpenRendezvous>[1]>('typed')

const options: InviteOptions = { repository: 'r', host: 'a/1', peer: 'b/1', rendezvous: 'dht:' }
const accepting: AcceptOptions = { ...options, admit: async (peer: string) => peer.length > 0, backlog: 2 }
const codes: readonly ErrorCode[] = Object.keys(ERROR_CODES) as ErrorCode[]
const checks: readonly ConformanceCheck[] = conformanceChecks()
export const made: Promise<Passage> | undefined = codes.length > 1000 ? invite(options) : undefined
export const passages: AsyncIterable<Passage> | undefined = codes.length > 1000 ? accept(accepting) : undefined
export const meeting: Promise<Rendezvous> | undefined =
  codes.length > 1000 ? openRendezvous(['dht:'], { stateDirectory: '.' }) : undefined

// @ts-expect-error a number of ms, not a text
export const wrong: InviteOptions = { ...options, timeout: '60' }
// @ts-expect-error there is no such code
export const none = () => new PlexusError('NO_SUCH_CODE', 'No.')

const port = UdpPort.open({ address: '127.0.0.1' })
const server = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
const [at] = server.endpoints
const [reflexive] = await discover(port, at ? [\`\${at.address}:\${at.port}\`] : [...DEFAULT_STUN_SERVERS])
const mirrored = reflexive?.endpoint.port === port.local(4)?.port
await port.close()
await server.close()
const message = decodeStun(encodeStun({ class: 'request', method: 1, transaction: Buffer.alloc(12), attributes: [] }))
const { fingerprint } = await createIdentity('repository', 'a/1', { key: 'ec' })
const repository = await Repository.open('repository')
const names = (await repository.list()).map(formatIdentity)
process.stdout.write(
  JSON.stringify([mirrored, message.class, fingerprint.length, names, parseIdentity('a/1'), checks.length > 5]),
)
`

describe('the packed package', () => {
  let consumer: Consumer
  before(async () => {
    consumer = await Consumer.create()
  })
  after(() => consumer.remove())

  test('holds what runs and what is read, and no tests', () => {
    for (const wanted of [
      'package.json',
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'docs/library.md',
      'dist/bin/cli/main.js',
      'dist/src/index.js',
      'dist/src/index.d.ts',
      'dist/rendezvous/interface.d.ts',
      'dist/rendezvous/conformance.js',
      'hooks/openvpn',
      'apprepo.example/README.md',
    ]) {
      assert.ok(consumer.files.includes(wanted), `${wanted} is missing`)
    }
    const allowed =
      /^(package\.json|README\.md|LICENSE|SECURITY\.md|CHANGELOG\.md|(dist\/bin|dist\/src|dist\/rendezvous|hooks|apprepo\.example|docs|systemd)\/.*)$/
    const stray = consumer.files.filter(
      (file) => !allowed.test(file) || /\.test\.|\.map$|\.key$|\.tsbuildinfo$/.test(file),
    )
    assert.deepEqual(stray, [])
  })

  test('compiles in a strict consumer that checks every declaration', async () => {
    const { code, stdout } = await consumer.compile('uses.ts', CONSUMER)
    assert.equal(stdout, '')
    assert.equal(code, 0)
  })

  test('runs in that consumer, and leaves it to end by itself', async () => {
    await consumer.installDependencies()
    const { code, stdout, stderr } = await consumer.run('uses.js')
    assert.equal(stderr, '')
    assert.deepEqual(JSON.parse(stdout), [true, 'request', 95, ['a/1'], { owner: 'a', pin: '1' }, true])
    assert.equal(code, 0)
  })

  test('has the program', async () => {
    const { code, stdout } = await consumer.run('node_modules/plexus/dist/bin/cli/main.js', '--version')
    assert.deepEqual([code, stdout], [0, `${manifest.version}\n`])
  })

  test('hides what is no export of it', async () => {
    const { code, stderr } = await consumer.run('-e', "import('plexus/dist/src/pairing/index.js')")
    assert.equal(code, 1)
    assert.match(stderr, /ERR_PACKAGE_PATH_NOT_EXPORTED/)
  })

  test('does what its documentation shows', async () => {
    const [program, ...others] = examples()
    assert.ok(program !== undefined && others.length === 0, 'docs/library.md has one program that is run')
    const compiled = await consumer.compile('example.ts', program)
    assert.deepEqual([compiled.code, compiled.stdout], [0, ''])
    const { code, stdout, stderr } = await consumer.run('example.js')
    assert.equal(stderr, '')
    assert.deepEqual(stdout.trim().split('\n').sort(), [
      'laptop: bob@example.com/server says welcome',
      'laptop: the port is free again: true',
      'server: alice@example.com/laptop says hello',
    ])
    assert.equal(code, 0)
  })

  test('compiles what its documentation shows of serving', async () => {
    const text = readFileSync(`${ROOT}docs/library.md`, 'utf8')
    const compiled = await consumer.compile('serve.ts', /^```ts serve\n(.*?)^```/ms.exec(text)?.[1] ?? '')
    assert.deepEqual([compiled.code, compiled.stdout], [0, ''])
  })

  test('does what its documentation shows of tunnels', async () => {
    const compiled = await consumer.compile('tunnel.ts', tunnelExample())
    assert.deepEqual([compiled.code, compiled.stdout], [0, ''])
    const { code, stdout, stderr } = await consumer.run('tunnel.js')
    assert.deepEqual([code, stdout, stderr], [0, 'hello', ''])
  })
})
