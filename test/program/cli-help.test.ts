import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { PAIRING_FLAGS } from '../../src/cli/flags/flags.js'
import { run } from '../support/program.js'

const help = readFileSync(new URL('../../bin/cli/help.txt', import.meta.url), 'utf8')

test('the help that was written when the program was built is the one it would give', async () => {
  const [fast, slow] = await Promise.all([run(['--help']), run(['--accept', '--help'])])
  assert.equal(fast.code, 0)
  assert.equal(fast.stdout, help)
  assert.equal(slow.stdout, help)
})

test('the help of everything names every flag that has an effect, and no other', async () => {
  const { stdout } = await run(['--help', '--all'])
  for (const { name, ignored } of PAIRING_FLAGS) {
    const named = new RegExp(`--${name}\\b`).test(stdout)
    assert.equal(named, !ignored, name)
  }
})

test('the help names the twelve flags that people use first, and how to see the others', async () => {
  const named = PAIRING_FLAGS.filter(({ name }) => new RegExp(`--${name}\\b`).test(help))
  assert.equal(named.length, 12)
  assert.match(help, /plexus --help --all/)
  assert.ok(help.split('\n').length <= 60)
  const check = await run(['check', '--help'])
  assert.doesNotMatch(check.stdout, /--email-smtps/)
  const nat = await run(['nat', '--help'])
  assert.match(nat.stdout, /--stun-server/)
})

test('the version is said alone', async () => {
  const { code, stdout } = await run(['--version'])
  assert.equal(code, 0)
  assert.match(stdout, /^\d+\.\d+\.\d+\S*\n$/)
})

test('a shell can have flags and commands completed', async () => {
  const script = await run(['completion'], { env: { SHELL: '/bin/bash' } })
  assert.match(script.stdout, /complete .* plexus/)
  const flags = (await run(['--get-yargs-completions', 'plexus', '--exec'])).stdout.split('\n')
  for (const name of ['--exec-command', '--exec-args', '--accept']) assert.ok(flags.includes(name), name)
  assert.ok(!flags.includes('--dht-port'))
  const commands = (await run(['--get-yargs-completions', 'plexus', ''])).stdout.split('\n')
  assert.ok(commands.includes('stun-server'))
})
