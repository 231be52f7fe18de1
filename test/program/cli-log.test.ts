import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLog } from '../../src/cli/output/log.js'

test('words of others forge no line of the log, whether they are its text, a field or an error', () => {
  const directory = mkdtempSync(join(tmpdir(), 'plexus-log-'))
  const file = join(directory, 'log')
  const log = openLog({ level: 'info', format: 'text', file })
  const forged = 'one\n2026-01-01 error \u001b[2Jtwo'
  log.warn({}, forged)
  log.warn({ field: forged }, 'a field')
  log.warn({ err: new Error(forged) }, 'an error')
  const text = readFileSync(file, 'utf8')
  assert.equal(text.split('\n').length, 4)
  assert.ok(!text.includes('\u001b'))
  rmSync(directory, { recursive: true })
})
