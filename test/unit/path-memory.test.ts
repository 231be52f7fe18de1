import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { PathMemory } from '../../src/pairing/index.js'
import { MemoryLog } from '../support/log.js'

const BOB = 'bob@px.test/server'
const HOME = '203.0.113.5'

describe('what worked for a peer in a network', () => {
  let directory: string
  let file: string
  const log = new MemoryLog()

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plexus-memory-'))
    file = join(directory, 'paths')
  })
  after(() => rm(directory, { recursive: true, force: true }))

  test('is known after a restart, for that peer and that network alone', async () => {
    const memory = await PathMemory.open(file, log)
    assert.deepEqual(memory.recall(BOB, HOME), { failures: 0, variant: 0 })
    memory.remember(BOB, HOME, 'search')
    await memory.settled()
    const again = await PathMemory.open(file, log)
    assert.deepEqual(again.recall(BOB, HOME), { failures: 0, variant: 0, worked: 'search' })
    assert.deepEqual(again.recall(BOB, '203.0.113.6'), { failures: 0, variant: 0 })
    assert.deepEqual(again.recall('carol@px.test/phone', HOME), { failures: 0, variant: 0 })
    assert.equal((await stat(file)).mode & 0o777, 0o600)
  })

  test('failures are counted, and what was tried after so many is kept while it goes well', async () => {
    const memory = await PathMemory.open(join(directory, 'failures'), log)
    memory.remember(BOB, HOME, 'failed')
    memory.remember(BOB, HOME, 'failed')
    assert.deepEqual(memory.recall(BOB, HOME), { failures: 2, variant: 0 })
    memory.remember(BOB, HOME, 'direct')
    memory.remember(BOB, HOME, 'direct')
    assert.deepEqual(memory.recall(BOB, HOME), { failures: 0, variant: 2, worked: 'direct' })
    memory.remember(BOB, HOME, 'failed')
    assert.deepEqual(memory.recall(BOB, HOME), { failures: 1, variant: 2, worked: 'direct' })
    await memory.settled()
  })

  test('the file stays small: the peer that was met the longest ago is forgotten', async () => {
    const many = join(directory, 'many')
    const memory = await PathMemory.open(many, log)
    for (let n = 0; n < 300; n++) memory.remember(`peer${n}@px.test/x`, HOME, 'direct')
    await memory.settled()
    assert.equal((JSON.parse(await readFile(many, 'utf8')) as unknown[]).length, 256)
    assert.equal(memory.recall('peer0@px.test/x', HOME).worked, undefined)
    assert.equal(memory.recall('peer299@px.test/x', HOME).worked, 'direct')
  })

  test('a file that was damaged is no reason to fail, and what is whole in it counts', async () => {
    const damaged = join(directory, 'damaged')
    const whole = [`${BOB} ${HOME}`, { failures: 3, variant: 1, worked: 'search' }]
    const broken = [
      ['x', { failures: -1, variant: 0 }],
      ['y'],
      7,
      null,
      ['z', { failures: 1, variant: 0, worked: 'magic' }],
      whole,
    ]
    for (const text of ['', '{', '7', '{"a":1}', 'null']) {
      await writeFile(damaged, text)
      assert.deepEqual((await PathMemory.open(damaged, log)).recall(BOB, HOME), { failures: 0, variant: 0 })
    }
    await writeFile(damaged, JSON.stringify(broken))
    const memory = await PathMemory.open(damaged, log)
    assert.deepEqual(memory.recall(BOB, HOME), { failures: 3, variant: 1, worked: 'search' })
  })

  test('a directory that cannot be written to costs nothing but the memory', async () => {
    const memory = await PathMemory.open(join(directory, 'nowhere', 'paths'), log)
    memory.remember(BOB, HOME, 'search')
    await memory.settled()
    assert.equal(memory.recall(BOB, HOME).worked, 'search')
  })
})
