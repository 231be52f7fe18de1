import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Program } from '../support/program.js'

const skip =
  process.getuid?.() !== 0
    ? 'only root can become a user that does not exist'
    : existsSync('/usr/bin/setpriv')
      ? false
      : 'setpriv is not installed'

// In containers a user often has a number alone: no entry in the password file, and no HOME.
describe('a user without a name and a home', { skip }, () => {
  let directory = ''
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'plexus-homeless-'))
    chmodSync(directory, 0o777)
  })
  after(() => rmSync(directory, { recursive: true, force: true }))

  const under = [
    ...['setpriv', '--reuid=54321', '--regid=54321', '--clear-groups'],
    ...['env', '-u', 'HOME', '-u', 'USER', '-u', 'LOGNAME'],
  ]
  const run = (...args: string[]) => new Program(args, { under, cwd: directory }).ended

  for (const words of [
    ['id', 'list'],
    ['id', 'new', 'a@example.com/b'],
    ['check', '--rendezvous=dir:/nowhere', '--stun-server=127.0.0.1:9'],
    ['--peer-info=bob@example.com/server'],
  ]) {
    test(`plexus ${words.join(' ')}: says what is missing`, async () => {
      const { code, stderr } = await run(...words)
      assert.equal(code, 2, stderr)
      assert.match(stderr, /uid 54321\) has no home directory. Set HOME, or give --app-repo/)
    })
  }

  test('needs no home where the directories are named', async () => {
    const repository = `--app-repo=${join(directory, 'repository')}`
    const made = await run('id', 'new', 'a@example.com/b', '--key=ec', repository)
    assert.equal(made.code, 0, made.stderr)
    const shown = await run('id', 'show', 'b', repository)
    assert.equal(shown.code, 0, shown.stderr)
    assert.match(shown.stdout, /only uid 54321 can read it/)
  })
})
