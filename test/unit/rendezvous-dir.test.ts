import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Mailbox, openRendezvous } from '../../rendezvous/index.js'
import { mailboxName } from '../../rendezvous/mailbox.js'
import { systemRandom } from '../../src/cli/clock.js'
import { MemoryLog } from '../support/log.js'
import { contextFor, temporaryDirectory } from './rendezvous.js'

const mailbox: Mailbox = { kind: 'identity', app: 'test', identity: 'b/1', certificate: Buffer.alloc(32, 1) }
const envelope = (expires: number) => ({ to: mailbox, from: 'a/1', session: systemRandom(16), expires })
const { signal } = new AbortController()

test('a message is one file that reveals nothing, and is gone when it was received', async (t) => {
  const path = temporaryDirectory(t)
  const rendezvous = await openRendezvous([`dir:${path}`], contextFor(t))
  await rendezvous.post(envelope(1_900_000_000_000), Buffer.from('sealed'), { signal })
  assert.match(readdirSync(path).join(), /^[0-9a-f]{32}-1900000000000-[0-9a-f]{16}\.plexus$/)
  const messages = rendezvous.receive(mailbox, { signal })[Symbol.asyncIterator]()
  assert.deepEqual((await messages.next()).value, Buffer.from('sealed'))
  await rendezvous.close()
  assert.deepEqual(readdirSync(path), [])
})

test('a directory that was not there is made, and the log says so: a share may not be mounted', async (t) => {
  const path = join(temporaryDirectory(t), 'share')
  const log = new MemoryLog()
  const rendezvous = await openRendezvous([`dir:${path}`], contextFor(t, {}, log))
  await rendezvous.close()
  assert.equal(log.count(/^warn created the directory \S+share, which did not exist/), 1)
})

test('half a message, a link, a device, or anything that is not ours is neither delivered nor removed', async (t) => {
  const path = temporaryDirectory(t)
  const name = (n: number) => `${mailboxName(mailbox)}-1900000000000-${String(n).padStart(16, '0')}`
  const secret = join(temporaryDirectory(t), 'secret')
  writeFileSync(secret, 'secret')
  symlinkSync(secret, join(path, `${name(1)}.plexus`))
  writeFileSync(join(path, `.${name(2)}.0123456789ab.tmp`), 'half')
  writeFileSync(join(path, `${name(3)}.plexus`), Buffer.alloc(65_537))
  writeFileSync(join(path, `${name(4)}.plexus`), '')
  mkdirSync(join(path, `${name(5)}.plexus`))
  execFileSync('mkfifo', [join(path, `${name(6)}.plexus`)])
  writeFileSync(join(path, `.syncthing.${name(7)}.plexus.tmp`), 'half')
  writeFileSync(join(path, 'notes.txt'), 'mine')
  const before = readdirSync(path)
  const rendezvous = await openRendezvous([`dir:${path}`], contextFor(t))
  const messages = rendezvous.receive(mailbox, { signal })[Symbol.asyncIterator]()
  await rendezvous.post(envelope(1_900_000_000_000), Buffer.from('whole'), { signal })
  assert.deepEqual((await messages.next()).value, Buffer.from('whole'))
  await rendezvous.close()
  assert.deepEqual(readdirSync(path), before)
})

test('what has expired is removed, and what a writer left that died; nothing else', async (t) => {
  const path = temporaryDirectory(t)
  const mine = (expires: number) => `${'0'.repeat(32)}-${expires}-${'1'.repeat(16)}`
  const now = Date.now()
  const kept = [
    `${mine(now + 60_000)}.plexus`,
    `${mine(now - 60_000)}.plexus`,
    'old.plexus',
    `.${mine(now)}.${'a'.repeat(12)}.tmp`,
  ]
  const gone = [`${mine(now - 7_200_000)}.plexus`, `.${mine(now)}.${'b'.repeat(12)}.tmp`]
  for (const name of [...kept, ...gone]) writeFileSync(join(path, name), 'x')
  utimesSync(join(path, gone[1] ?? ''), now / 1000 - 3600, now / 1000 - 3600)
  utimesSync(join(path, 'old.plexus'), 0, 0)
  const rendezvous = await openRendezvous([`dir:${path}`], contextFor(t))
  await rendezvous.close()
  assert.deepEqual(readdirSync(path).sort(), kept.sort())
})

test('a directory that is missing is made for its user alone', async (t) => {
  const path = join(temporaryDirectory(t), 'with space', 'and#sign')
  const url = `dir:${encodeURI(path).replace('#', '%23')}`
  await (await openRendezvous([url], contextFor(t))).close()
  assert.equal(statSync(path).mode & 0o777, 0o700)
})

test('a directory that cannot be one is refused by name', async (t) => {
  const file = join(temporaryDirectory(t), 'file')
  writeFileSync(file, '')
  for (const url of [
    `dir:${file}`,
    `dir:${file}/below`,
    'dir:relative',
    'dir:',
    'dir://host/path',
    'dir:/a%zz',
    'dir:/tmp?latency=soon',
  ]) {
    await assert.rejects(openRendezvous([url], contextFor(t)), { code: 'BAD_RENDEZVOUS' }, url)
  }
})

test('receiving goes on when the directory is away for a while', async (t) => {
  const parent = temporaryDirectory(t)
  const path = join(parent, 'shared')
  const rendezvous = await openRendezvous([`dir:${path}`], contextFor(t))
  const messages = rendezvous.receive(mailbox, { signal })[Symbol.asyncIterator]()
  execFileSync('mv', [path, `${path}.away`])
  await assert.rejects(rendezvous.post(envelope(1_900_000_000_000), Buffer.from('lost'), { signal }), {
    code: 'RENDEZVOUS_UNREACHABLE',
  })
  mkdirSync(path)
  await rendezvous.post(envelope(1_900_000_000_000), Buffer.from('back'), { signal })
  assert.deepEqual((await messages.next()).value, Buffer.from('back'))
  await rendezvous.close()
})
