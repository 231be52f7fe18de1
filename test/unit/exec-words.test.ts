import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { PlexusError } from '../../src/errors/index.js'
import { splitWords } from '../../src/exec/index.js'

test('words are split at blanks, and quotes and backslashes keep them together', () => {
  for (const [line, words] of [
    ['', []],
    ['  \t\n ', []],
    ['a  b\tc\nd', ['a', 'b', 'c', 'd']],
    [`'' ""`, ['', '']],
    [`a'b c'"d e"f\\ g`, ['ab cd ef g']],
    [`'a\\b' "a\\b" "a\\"b" a\\b`, ['a\\b', 'a\\b', 'a"b', 'ab']],
    [`"\\$HOME \\\`id\\\`"`, ['$HOME `id`']],
    [`'$HOME' '|' "a;b" \\* \\#`, ['$HOME', '|', 'a;b', '*', '#']],
    ['a\\\nb \\\n c', ['ab', 'c']],
    ['http://x/#part a#b 5$ a~', ['http://x/#part', 'a#b', '5$', 'a~']],
    ['--a=%peerip%:%peerport% [%peerip%]:1', ['--a=%peerip%:%peerport%', '[%peerip%]:1']],
    ['a\u00a0b', ['a\u00a0b']],
  ] as const) {
    assert.deepEqual(splitWords(line), words, JSON.stringify(line))
  }
})

test('what only a shell could do is refused, and the part is named', () => {
  for (const [line, what, part] of [
    ['a | b', 'a shell operator', '| b'],
    ['a > b', 'a shell operator', '> b'],
    ['a; b', 'a shell operator', '; b'],
    ['a && b', 'a shell operator', '&& b'],
    ['a $HOME', 'a shell expansion', '$HOME'],
    ['"a ${', 'a shell expansion', '${'],
    ['a $(touch x)', 'a shell expansion', '$(touch x)'],
    ["$'a'", 'a shell expansion', "$'a'"],
    ['a `id`', 'a command substitution', '`id`'],
    ['"`id`"', 'a command substitution', '`id`'],
    ['ls *.txt', 'a pattern for file names', '*.txt'],
    ['a?', 'a pattern for file names', '?'],
    ['a # b', 'a comment', '# b'],
    ['~/key', 'a home directory', '~/key'],
    [`a 'b c`, 'a quote that is not closed', `'b c`],
    [`it's`, 'a quote that is not closed', `'s`],
    ['"a \\"', 'a quote that is not closed', '"a \\"'],
    ['a\\', 'a backslash with nothing after it', '\\'],
  ] as const) {
    assert.throws(
      () => splitWords(line),
      (error) =>
        error instanceof PlexusError &&
        error.code === 'BAD_EXEC_ARGS' &&
        error.message.includes(what) &&
        error.message.includes(JSON.stringify(part).slice(1, -1)),
      line,
    )
  }
})

test('what is accepted is split as the shell of this system splits it', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'plexus-words-test-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const unit = fc.constantFrom(...`ab%:=/.,-[]{}!^#~$ \t'"\\|;*?`.split(''))
  const quoted = fc.array(unit, { maxLength: 5 }).map((units) => units.join(''))
  const part = fc.oneof(
    { weight: 3, arbitrary: unit },
    quoted.map((text) => `'${text.replaceAll("'", '')}'`),
    quoted.map((text) => `"${text.replaceAll(/["$]/g, '\\$&')}"`),
    unit.map((char) => `\\${char}`),
  )
  const lines = fc
    .sample(fc.array(part, { maxLength: 12 }), { numRuns: 20_000, seed: 7 })
    .map((parts) => parts.join(''))
  const accepted: { line: string; words: string[] }[] = []
  for (const line of lines) {
    try {
      accepted.push({ line, words: splitWords(line) })
    } catch (error) {
      assert.ok(error instanceof PlexusError)
    }
  }
  assert.ok(accepted.length > 2000, `${accepted.length} of ${lines.length} lines were accepted`)
  const script = join(directory, 'script')
  writeFileSync(script, accepted.map(({ line }) => `printf '%s\\0' - ${line}\nprintf '\\n\\0'\n`).join(''))
  const output = execFileSync('/bin/sh', [script], { cwd: directory, encoding: 'utf8', maxBuffer: 1 << 26 })
  const split = output.split('\n\0').slice(0, -1)
  assert.equal(split.length, accepted.length)
  for (const [index, { line, words }] of accepted.entries()) {
    assert.deepEqual(split[index]?.split('\0').slice(1, -1), words, JSON.stringify(line))
  }
})
