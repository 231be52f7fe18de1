import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { Repository } from '../../src/identity/index.js'
import { largeRepository, untilReady } from '../support/large-repository.js'

const PEERS = 10_000
const NO_PROC = !existsSync('/proc/self/io') && 'needs /proc/<pid>/io'

let scratch = ''
let large = ''
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-scale-'))
  large = join(scratch, 'large')
  await largeRepository(large, PEERS)
})
after(() => rm(scratch, { recursive: true, force: true }))

test('an accepter of 10,000 peers starts without a look into their files', { skip: NO_PROC }, async () => {
  const small = join(scratch, 'small')
  await largeRepository(small, 1)
  const one = await untilReady(small, scratch)
  const many = await untilReady(large, scratch)
  // their certificates are 6 MB; modules and libraries that are loaded differ by a few kB from start to start
  assert.ok(
    many.read - one.read < 200_000,
    `${one.read} bytes read with one peer, ${many.read} with ${PEERS}`,
  )
})

test('a short name is found among 10,000, and an ambiguous one is named', async () => {
  const repository = await Repository.open(large)
  assert.deepEqual(await repository.resolve('pin9999'), { owner: 'p9999@px.test', pin: 'pin9999' })
  assert.deepEqual(await repository.resolve('p17@px.test'), { owner: 'p17@px.test', pin: 'pin17' })
  assert.deepEqual(await repository.resolve('server', { own: true }), {
    owner: 'host@px.test',
    pin: 'server',
  })
  await assert.rejects(repository.resolve('pin17', { own: true }), { code: 'IDENTITY_MISSING' })
  await assert.rejects(repository.resolve('pin10000'), { code: 'IDENTITY_MISSING' })
  for (let owner = 0; owner < 8; owner++) await mkdir(join(large, `p${owner}@px.test`, 'same'))
  await assert.rejects(repository.resolve('same'), (error) => {
    assert.ok(error instanceof PlexusError)
    assert.equal(error.code, 'IDENTITY_AMBIGUOUS')
    assert.match(error.message, /p0@px.test\/same or p1@px.test\/same or .* or 3 more\.$/)
    return true
  })
  await assert.rejects(repository.resolve('p0@px.test'), { code: 'IDENTITY_AMBIGUOUS' })
})

test('a name in full is taken as it stands, whether there is such an identity or not', async () => {
  const repository = await Repository.open(large)
  assert.deepEqual(await repository.resolve('new/one'), { owner: 'new', pin: 'one' })
  for (const text of ['a/b/c', '', '..', '../x', 'a\n']) {
    await assert.rejects(repository.resolve(text), { code: 'IDENTITY_NAME' })
  }
})
