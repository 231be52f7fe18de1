import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from '../support/readme.js'

const skip = existsSync('/usr/bin/systemd-analyze') ? false : 'systemd-analyze is not installed'

/** The units that people are given: the one of the package, and the one in docs/operating.md. */
const UNITS = {
  'systemd/plexus.service': readFileSync(join(ROOT, 'systemd/plexus.service'), 'utf8'),
  'docs/operating.md': /```ini\n(\[Unit\][\s\S]*?)```/.exec(
    readFileSync(join(ROOT, 'docs/operating.md'), 'utf8'),
  )?.[1],
}

for (const [where, unit = ''] of Object.entries(UNITS)) {
  test(`the unit of ${where} is one that systemd takes, and shuts off what plexus does not need`, {
    skip,
  }, () => {
    const directory = mkdtempSync(join(tmpdir(), 'plexus-unit-'))
    try {
      const file = join(directory, 'plexus.service')
      // the program need not be installed here
      writeFileSync(file, unit.replace(/^ExecStart=\S+/m, 'ExecStart=/bin/true'))
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' })
      const about = stderr.split('\n').filter((line) => line.includes('plexus.service'))
      assert.deepEqual([status, about], [0, []])
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
    for (const line of [
      'LimitCORE=0',
      'ProtectProc=invisible',
      'NoNewPrivileges=yes',
      'ProtectSystem=strict',
    ]) {
      assert.ok(unit.split('\n').includes(line), line)
    }
    for (const name of ['MemoryMax', 'LimitNOFILE']) assert.match(unit, new RegExp(`^${name}=\\d`, 'm'))
  })
}
