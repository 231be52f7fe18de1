import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const EXHAUSTED = fileURLToPath(new URL('../support/exhausted.js', import.meta.url))

/** Enough to load the program, and soon used up. */
const DESCRIPTORS = 256

test('whatever cannot be opened for want of descriptors says so, and nothing else', () => {
  const directory = mkdtempSync(join(tmpdir(), 'plexus-limit-'))
  try {
    const line = `ulimit -n ${DESCRIPTORS}; exec "$@"`
    const output = execFileSync('sh', ['-c', line, 'sh', process.execPath, EXHAUSTED, directory])
    const found = Object.entries(JSON.parse(output.toString()) as Record<string, Record<string, string>>)
    assert.ok(found.length > 12)
    for (const [what, { code, message = '', advice = '' }] of found) {
      if (code === 'none' && what === 'a command with 2 left') continue // it needs no more
      assert.equal(code, 'SYSTEM_LIMIT', `${what}: ${message}`)
      assert.match(message, /This program may open no more files and sockets\.$/, what)
      assert.match(advice, /LimitNOFILE/, what)
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
})
