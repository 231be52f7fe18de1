import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Mailbox, openRendezvous, type Rendezvous } from '../../rendezvous/index.js'
import { SeveralRendezvous } from '../../rendezvous/several.js'
import { PlexusError } from '../../src/errors/index.js'
import { contextFor, openNetwork, recorder, temporaryDirectory } from './rendezvous.js'

const MODULE = `const open = (url) => ({
  name: url.href, latency: 7, async post() {}, async *receive() {}, async close() {},
})
`

test('a module is named by its path, or as an installed package', async (t) => {
  const cwd = temporaryDirectory(t)
  writeFileSync(join(cwd, 'own.mjs'), `${MODULE}export { open }`)
  const scoped = join(cwd, 'node_modules', '@scope', 'carrier')
  mkdirSync(scoped, { recursive: true })
  writeFileSync(join(scoped, 'package.json'), '{"type":"module","main":"index.js"}')
  writeFileSync(join(scoped, 'index.js'), `${MODULE}export default open`)
  mkdirSync(join(cwd, 'node_modules', 'pigeon'))
  writeFileSync(join(cwd, 'node_modules', 'pigeon', 'index.js'), `${MODULE}exports.open = open`)
  for (const [text, name] of [
    ['./own.mjs', `file://${cwd}/own.mjs`],
    [`${cwd}/own.mjs?speed=3`, `file://${cwd}/own.mjs?speed=3`],
    ['@scope/carrier', 'package:@scope/carrier'],
    ['@scope/carrier?speed=3', 'package:@scope/carrier?speed=3'],
    ['pigeon:north/west', 'pigeon:north/west'],
  ] as const) {
    assert.equal((await openRendezvous([text], contextFor(t), { cwd })).name, name)
  }
})

test('what names no rendezvous is refused, and says why', async (t) => {
  const cwd = temporaryDirectory(t)
  writeFileSync(join(cwd, 'empty.mjs'), '')
  writeFileSync(join(cwd, 'broken.mjs'), '}')
  for (const text of [
    '',
    'own.mjs/',
    './missing.mjs',
    './empty.mjs',
    './broken.mjs',
    'no-such-package-as-this',
    'http://example.org',
    'fs',
    'node:fs',
    'UPPER CASE',
    'dht:a b',
    'dht:[::1]:5',
    'dht:host:99999',
  ]) {
    await assert.rejects(openRendezvous([text], contextFor(t), { cwd }), { code: 'BAD_RENDEZVOUS' }, text)
  }
  await assert.rejects(openRendezvous([], contextFor(t)), { code: 'BAD_RENDEZVOUS' })
})

test('when one of several cannot be opened, the others are closed again', async (t) => {
  const { bootstrap } = await openNetwork(t, 1)
  await assert.rejects(openRendezvous([`dht:${bootstrap}`, 'dir:relative'], contextFor(t)), {
    code: 'BAD_RENDEZVOUS',
  })
})

const mailbox: Mailbox = { kind: 'session', app: 'test', identity: 'b/1', seed: Buffer.alloc(32, 1) }
const envelope = { to: mailbox, from: 'a/1', session: Buffer.alloc(16), expires: Date.now() + 600_000 }

function broken(code: 'RENDEZVOUS_FOREIGN' | 'RENDEZVOUS_UNREACHABLE'): Rendezvous {
  const error = new PlexusError(code, `It is ${code}.`)
  return {
    name: 'broken',
    latency: 30_000,
    async post() {
      throw error
    },
    // biome-ignore lint/correctness/useYield: it fails before it has anything
    async *receive() {
      throw error
    },
    async ready() {
      throw error
    },
    async close() {},
  }
}

test('of several, one that fails does not stop the others, and is logged', async (t) => {
  const { log, lines } = recorder()
  const context = contextFor(t, {}, log)
  const directory = await openRendezvous([`dir:${temporaryDirectory(t)}`], context)
  const several = new SeveralRendezvous([broken('RENDEZVOUS_UNREACHABLE'), directory], context)
  const { signal } = new AbortController()
  assert.equal(several.latency, 30_000)
  await several.ready({ signal })
  const messages = several.receive(mailbox, { signal })[Symbol.asyncIterator]()
  await several.post(envelope, Buffer.from('through'), { signal })
  assert.equal(several.returning, 30_000)
  assert.deepEqual((await messages.next()).value, Buffer.from('through'))
  assert.equal(several.returning, directory.latency, 'that of the one which carried it')
  await several.close()
  assert.ok(lines.some(({ level, message }) => level === 'warn' && message.includes('retrying')))
})

test('when all of several fail, the error holds every reason', async (t) => {
  const several = new SeveralRendezvous(
    [broken('RENDEZVOUS_FOREIGN'), broken('RENDEZVOUS_UNREACHABLE')],
    contextFor(t),
  )
  await assert.rejects(
    several.post(envelope, Buffer.from('x'), { signal: new AbortController().signal }),
    (thrown) =>
      thrown instanceof PlexusError &&
      thrown.code === 'RENDEZVOUS_UNREACHABLE' &&
      thrown.message.includes('FOREIGN') &&
      thrown.message.includes('UNREACHABLE'),
  )
  await several.close()
})

test('a message that comes over several ways is delivered once', async (t) => {
  const context = contextFor(t)
  const ways = [temporaryDirectory(t), temporaryDirectory(t)].map((path) => `dir:${path}`)
  const several = await openRendezvous(ways, context)
  const { signal } = new AbortController()
  for (const way of ways) {
    const alone = await openRendezvous([way], context)
    for (const text of ['same', `only ${way}`]) await alone.post(envelope, Buffer.from(text), { signal })
    await alone.close()
  }
  const messages = several.receive(mailbox, { signal })[Symbol.asyncIterator]()
  const received: string[] = []
  while (received.length < 3) received.push(String((await messages.next()).value))
  assert.deepEqual(received.sort(), [...ways.map((way) => `only ${way}`), 'same'].sort())
  await several.close()
})

test('nothing keeps the process alive once a rendezvous is closed', async (t) => {
  const { bootstrap } = await openNetwork(t, 1)
  const program = `
    import { openRendezvous } from '${new URL('../../rendezvous/index.js', import.meta.url)}'
    import { silent } from '${new URL('../../src/net/index.js', import.meta.url)}'
    import { systemClock as clock, systemRandom as random } from '${new URL('../../src/cli/clock.js', import.meta.url)}'
    const [bootstrap, path] = process.argv.slice(1)
    const context = { clock, random, log: silent, stateDirectory: path, options: {} }
    const rendezvous = await openRendezvous(['dht:' + bootstrap, 'dir:' + path], context)
    const { signal } = new AbortController()
    for (const kind of ['identity', 'session']) {
      const mailbox = { kind, app: 'test', identity: 'a/1', certificate: random(32), seed: random(32) }
      rendezvous.receive(mailbox, { signal })
      await rendezvous.ready({ signal })
      await rendezvous.post({ to: mailbox, from: 'b/1', session: random(16), expires: clock.date() }, random(2000), { signal })
    }
    await rendezvous.close()
    process.stdout.write('closed')
  `
  const args = ['--input-type=module', '-e', program, bootstrap, temporaryDirectory(t)]
  assert.equal(execFileSync(process.execPath, args, { timeout: 60_000, encoding: 'utf8' }), 'closed')
})
