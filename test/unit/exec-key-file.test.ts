import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/cli/clock.js'
import { writeKeyFile } from '../../src/exec/key-file.js'

const TWO_HOURS = 7200

describe('key files', () => {
  let directory: string
  /** A process that has ended. */
  let dead: number

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plexus-key-file-test-'))
    dead = spawnSync('true').pid
  })
  after(() => rm(directory, { recursive: true, force: true }))

  async function leave(name: string, seconds: number): Promise<void> {
    const path = join(directory, name)
    await mkdir(path)
    await writeFile(join(path, 'key'), 'x')
    const time = systemClock.date() / 1000 - seconds
    await utimes(path, time, time)
  }

  test('what a killed process left behind is removed an hour later, and nothing else', async () => {
    await leave(`plexus-key-${dead}-aaaaaa`, TWO_HOURS)
    await leave(`plexus-key-${dead}-bbbbbb`, 60)
    await leave(`plexus-key-${process.pid}-cccccc`, TWO_HOURS)
    await leave('plexus-key-of-mine', TWO_HOURS)
    const { path, remove } = await writeKeyFile(Buffer.alloc(32), { TMPDIR: directory })
    const own = basename(dirname(path))
    assert.deepEqual(
      (await readdir(directory)).sort(),
      [`plexus-key-${dead}-bbbbbb`, `plexus-key-${process.pid}-cccccc`, 'plexus-key-of-mine', own].sort(),
    )
    await remove()
    assert.ok(!(await readdir(directory)).includes(own))
  })
})
