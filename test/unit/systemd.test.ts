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

const ADVICE = readFileSync(join(ROOT, 'docs/operating.md'), 'utf8').replace(/\s+/g, ' ')

test('a percent sign in a unit is written twice, as docs/operating.md says', { skip }, () => {
  assert.match(ADVICE, /`%%` in a unit \(`--exec-args="%%peerip%%"`\)/)
  const directory = mkdtempSync(join(tmpdir(), 'plexus-percent-'))
  try {
    // systemd looks whether the program is there: so it tells what it has read
    writeFileSync(join(directory, '%peerip%'), '#!/bin/sh\n', { mode: 0o755 })
    const verified = (name: string) => {
      const file = join(directory, 'plexus-percent.service')
      writeFileSync(file, `[Service]\nExecStart=${directory}/${name}\n`)
      const { stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' })
      return !/not executable|No such file|Failed to resolve/.test(stderr)
    }
    assert.equal(verified('%%peerip%%'), true)
    assert.equal(verified('%peerip%'), false)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

/**
 * What cron gives the shell of a line, and to its standard input (crontab(5), do_command.c of Debian's cron): an unescaped percent
 * sign ends the command, the following ones are line ends, and of `\%` the backslash goes.
 */
function cron(line: string): { command: string; input: string } {
  const [command = '', ...input] = line.split(/(?<!\\)%/).map((part) => part.replaceAll('\\%', '%'))
  return { command, input: input.join('\n') }
}

test('a percent sign in a crontab is written with a backslash, as docs/operating.md says', () => {
  assert.match(ADVICE, /`\\%` in a crontab/)
  const words = (line: string) => {
    const { command, input } = cron(line)
    return spawnSync('/bin/sh', ['-c', command], { input, encoding: 'utf8' }).stdout
  }
  assert.equal(words('printf "[%s]" x'), '', 'the command ends at the sign')
  assert.equal(
    words(`printf '[\\%s]' --exec-args="\\%peerip\\% \\%peerport\\%"`),
    '[--exec-args=%peerip% %peerport%]',
  )
})
