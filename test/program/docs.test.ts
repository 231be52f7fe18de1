import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { PAIRING_FLAGS } from '../../src/cli/flags/flags.js'
import { ERROR_CODES } from '../../src/errors/index.js'
import { WILDCARDS } from '../../src/exec/wildcards.js'
import { ROOT } from '../support/readme.js'
import { World } from '../support/world.js'

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const sorted = (words: Iterable<string>) => [...new Set(words)].sort()

/** The headings of a text of Markdown, as a link names them. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** The program's help, of all or of one command. */
function help(...command: string[]): string {
  return execFileSync(process.execPath, [join(ROOT, 'dist/bin/cli/main.js'), ...command, '--help', '--all'], {
    encoding: 'utf8',
  })
}

describe('docs/troubleshooting.md', () => {
  const text = read('docs/troubleshooting.md')
  const sections = text.split(/^### /m).slice(1)

  test('has a section for every error code, and no other', () => {
    assert.deepEqual(
      sections.map((section) => section.split('\n')[0]).sort(),
      Object.keys(ERROR_CODES).sort(),
    )
  })

  test('says in each what to do', () => {
    for (const section of sections) assert.match(section, /_Remedy:_/, section)
  })

  test('has each code under the exit code that it brings about', () => {
    const exits = { usage: '2', impossible: '1', later: '1', internal: '1', hostile: undefined }
    for (const chapter of text.split(/^## /m).slice(1)) {
      const exit = /exit (\d)\n/.exec(chapter)?.[1]
      for (const [, code = ''] of chapter.matchAll(/^### (.*)$/gm)) {
        const entry = ERROR_CODES[code as keyof typeof ERROR_CODES]
        assert.equal(exit, exits[entry.kind], code)
      }
    }
  })
})

describe('docs/plexus.1', () => {
  const page = read('docs/plexus.1').replaceAll('\\-', '-').replaceAll('\\fR', '')
  const flagged = sorted([...page.matchAll(/--([a-z][a-z-]*)/g)].map(([, name = '']) => name))

  test('has every flag of pairing that the help has', () => {
    // a flag without a help is known, but not offered
    for (const { name, help } of PAIRING_FLAGS)
      if (help !== '') assert.ok(flagged.includes(name), `--${name} is missing`)
  })

  test('has every command, with its flags, and no flag that nobody knows', () => {
    const all = help()
    const commands = [...all.matchAll(/^ {2}plexus ([a-z][a-z-]*)/gm)].map(([, name = '']) => name)
    assert.ok(commands.length >= 4, all)
    // a line of a flag begins with its names, two blanks or more before what it means
    const known = [all, ...commands.map((name) => help(name))].flatMap((text) =>
      [...text.matchAll(/^ +(-.*?)(?: {2,}|$)/gm)].flatMap(([, names = '']) =>
        [...names.matchAll(/--([a-z][a-z-]*)/g)].map(([, name = '']) => name),
      ),
    )
    for (const name of commands) assert.ok(page.includes(name), `the command ${name} is missing`)
    // a word of the help alone
    assert.deepEqual(flagged, sorted([...known, 'all']))
  })

  test('has every wildcard', () => {
    for (const name of Object.keys(WILDCARDS)) assert.ok(page.includes(`%${name}%`), name)
  })

  const groff = existsSync('/usr/bin/groff') ? false : 'groff is not installed'
  test('is set without a warning', { skip: groff }, () => {
    const set = spawnSync('groff', ['-man', '-Tutf8', '-ww', join(ROOT, 'docs/plexus.1')], {
      encoding: 'utf8',
    })
    assert.equal(set.stderr, '')
    assert.equal(set.status, 0)
  })
})

test('docs/migrating.md says of each flag of plexus 3 whether it is there', () => {
  const offered = PAIRING_FLAGS.filter(({ help }) => help !== '')
  const names = offered.flatMap((flag) => [flag.name, ...((flag as { aliases?: string[] }).aliases ?? [])])
  const known = new Set(['help', ...names])
  // those of 3.0 to 3.2, and the names of 3.3 and 3.4
  const rows = [...read('docs/migrating.md').matchAll(/^\| `--([a-z-]+)` +\| (.*) \|$/gm)]
  assert.equal(rows.length, 26 + 8)
  for (const [, name = '', what = ''] of rows) {
    assert.equal(known.has(name), what.startsWith('the same'), `--${name}: ${what}`)
    const other = /^write `--([a-z-]+)`/.exec(what)?.[1]
    if (other !== undefined) assert.ok(known.has(other), `--${other} is not there`)
  }
})

test('every link of the documentation leads somewhere', () => {
  const files = [
    'README.md',
    'bench/README.md',
    'apprepo.example/README.md',
    ...readdirSync(join(ROOT, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ]
  for (const file of files) {
    for (const [, target = ''] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const to = path === '' ? file : join(dirname(file), path)
      assert.ok(existsSync(join(ROOT, to)), `${file}: ${target}`)
      if (anchor !== undefined) assert.ok(anchors(read(to)).includes(anchor), `${file}: ${target}`)
    }
  }
})

test('the glare mailbox of docs/protocol.md is where an inviter without an answer posts a second time', async () => {
  const [alice, bob] = ['alice@px.test/laptop', 'bob@px.test/server']
  const world = await World.create([alice, bob])
  try {
    const certificate = async (name: string) => (await world.context(name)).host.certificate.fingerprint
    const [from, to] = [await certificate(alice), await certificate(bob)]
    await assert.rejects(world.invite(alice, bob, { timeout: 3000 }), { code: 'PEER_SILENT' })
    const seed = createHash('sha256')
      .update('plexus 4 glare\0')
      .update(to)
      .update(from)
      .update('test')
      .digest()
    const seeds = world.place.posted.flatMap(({ envelope }) =>
      envelope.to.kind === 'session' ? [Buffer.from(envelope.to.seed).toString('hex')] : [],
    )
    assert.deepEqual(seeds, [seed.toString('hex')])
  } finally {
    await world.close()
  }
})
