import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryFile } from '../support/examples.js'
import { hookExamples } from '../support/hook-examples.js'
import { ROOT } from '../support/readme.js'

const HOOKS = readdirSync(join(ROOT, 'hooks')).sort()
const text = repositoryFile('docs/hooks.md')

test('docs/hooks.md has a section for each hook, an example, and a row of its table', () => {
  const sections = [...text.matchAll(/^## ([a-z]+)$/gm)].map(([, name]) => name)
  assert.deepEqual(sections.sort(), HOOKS)
  const examples = new Set(hookExamples().map(({ hook }) => hook))
  assert.deepEqual([...examples].sort(), HOOKS)
  for (const name of HOOKS) assert.match(text, new RegExp(`^\\| \`${name}\` `, 'm'))
})

test('each hook is a program that shows its use in its first lines, as docs/hooks.md has it', () => {
  for (const name of HOOKS) {
    accessSync(join(ROOT, 'hooks', name), constants.X_OK)
    const head = repositoryFile(`hooks/${name}`).split('\n').slice(0, 12)
    assert.equal(head[0], '#!/bin/sh')
    const uses = head.flatMap((line) => /^# {3}(plexus .*?)(?: {3,}.*)?$/.exec(line)?.[1] ?? [])
    assert.ok(uses.length > 0, name)
    for (const use of uses) assert.ok(known(use), `${name}: ${use}`)
  }
})

/** Whether the document has the command of a line; where its output goes is its reader's affair. */
function known(use: string): boolean {
  const [command = use] = /--exec-command=.*/.exec(use.replace(/ --exec-log=\S+/, '')) ?? []
  return text.includes(` ${command.trim()}`)
}

test('docs/hooks.md has every variable by which a hook can be had otherwise', () => {
  for (const name of HOOKS) {
    for (const [variable] of repositoryFile(`hooks/${name}`).matchAll(/PLEXUS_(?:VPN|HOOK)_[A-Z]+/g))
      assert.ok(text.includes(`\`${variable}\``), `${name}: ${variable}`)
  }
})

const shellcheck = existsSync('/usr/bin/shellcheck') ? false : 'shellcheck is not installed'
test('shellcheck has nothing to say about the hooks', { skip: shellcheck }, () => {
  const files = HOOKS.map((name) => join(ROOT, 'hooks', name))
  const { status, stdout } = spawnSync('shellcheck', ['--severity=warning', '--shell=sh', ...files], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stdout)
})
