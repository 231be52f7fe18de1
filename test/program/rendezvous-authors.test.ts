import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openRendezvous, type Rendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { silent } from '../../src/net/index.js'
import { example } from '../support/examples.js'
import { World } from '../support/world.js'
import { lives } from '../unit/exec-stage.js'
import { temporaryDirectory } from '../unit/rendezvous.js'

const DOCUMENT = 'docs/writing-a-rendezvous.md'
const PROGRAM = fileURLToPath(new URL('../../bin/cli/main.js', import.meta.url))

/** The two examples of the document as files, and the directory that they share. */
function examples(t: TestContext) {
  const directory = temporaryDirectory(t)
  writeFileSync(join(directory, 'mailbox.sh'), example(DOCUMENT, 'mailbox.sh'), { mode: 0o755 })
  writeFileSync(join(directory, 'shelf.js'), example(DOCUMENT, 'shelf.js'))
  const shelf = join(directory, 'a shelf')
  mkdirSync(shelf)
  const urls = { command: 'exec:./mailbox.sh', module: `./shelf.js?path=${encodeURIComponent(shelf)}` }
  return { directory, urls, environment: { PATH: process.env.PATH, SHELF: shelf } }
}

function plexus(cwd: string, env: Record<string, string | undefined>, ...args: string[]) {
  return spawnSync(process.execPath, [PROGRAM, ...args], { cwd, env, encoding: 'utf8' })
}

for (const kind of ['command', 'module'] as const) {
  test(`the ${kind} of the document meets every claim by 'plexus rendezvous test'`, (t) => {
    const { directory, urls, environment } = examples(t)
    const { stdout, stderr, status } = plexus(directory, environment, 'rendezvous', 'test', urls[kind])
    const lines = stdout.trimEnd().split('\n')
    assert.match(lines.at(-1) ?? '', /^[1-9]\d* ok, 0 failed, 0 skipped$/, stdout + stderr)
    for (const line of lines.slice(0, -1)) assert.match(line, /^ok {4}.+ \(\d+ ms\)$/)
    assert.equal(status, 0)
  })

  test(`two sides pair over the ${kind} of the document`, async (t) => {
    const { directory, urls, environment } = examples(t)
    const opened: Rendezvous[] = []
    const rendezvous = async () => {
      const context = {
        clock: systemClock,
        random: systemRandom,
        log: silent,
        stateDirectory: temporaryDirectory(t),
        options: {},
        environment,
      }
      // an absolute path, since the command's own is looked up from where this process stands
      const url = urls[kind].replace('exec:.', `exec:${directory}`)
      const made = await openRendezvous([url], context, { cwd: directory })
      opened.push(made)
      return made
    }
    const world = await World.create(['a@x.example/1', 'b@x.example/2'])
    try {
      const accepter = await world.accepter('b@x.example/2', { rendezvous: await rendezvous() })
      const passage = await world.invite('a@x.example/1', 'b@x.example/2', { rendezvous: await rendezvous() })
      const theirs = await accepter.next()
      assert.deepEqual(passage.keys.key, theirs.keys.key)
    } finally {
      await world.close()
      await Promise.all(opened.map((one) => one.close()))
    }
  })
}

test('what does not carry messages fails at once, with the reason, and the rest is skipped', (t) => {
  const directory = temporaryDirectory(t)
  const body = '#!/bin/sh\necho "the mail host is gone" >&2\nexit 1\n'
  writeFileSync(join(directory, 'broken'), body, { mode: 0o755 })
  const { stdout, status } = plexus(directory, {}, 'rendezvous', 'test', 'exec:./broken')
  const [first, ...rest] = stdout.trimEnd().split('\n')
  assert.match(first ?? '', /^FAIL .+ \(\d+ ms\): .+ post exited with 1: the mail host is gone\.$/)
  for (const line of rest.slice(0, -1)) assert.match(line, /^skip {2}.+: messages do not arrive yet$/)
  assert.match(rest.at(-1) ?? '', /^0 ok, 1 failed, \d+ skipped$/)
  assert.equal(status, 1)
})

test('a module that leaves something open when it is closed is told what', (t) => {
  const { directory, urls, environment } = examples(t)
  const leak = example(DOCUMENT, 'shelf.js').replace(
    'life.abort()',
    'life.abort(); setInterval(() => {}, 1e6)',
  )
  writeFileSync(join(directory, 'shelf.js'), leak)
  const { stdout, status } = plexus(directory, environment, 'rendezvous', 'test', urls.module)
  assert.match(stdout.trimEnd().split('\n').at(-1) ?? '', /^FAIL {2}closing releases .+ still open .+Timeout/)
  assert.equal(status, 1)
})

test('a signal ends the test, and the command that it had running', async (t) => {
  const directory = temporaryDirectory(t)
  const body = '#!/bin/sh\n[ $1 = post ] || { echo $$ >up; exec sleep 1000; }\n'
  writeFileSync(join(directory, 'mute'), body, { mode: 0o755 })
  execFileSync('mkfifo', [join(directory, 'up')])
  const options = { cwd: directory, stdio: 'ignore' } as const
  const child = spawn(process.execPath, [PROGRAM, 'rendezvous', 'test', 'exec:./mute'], options)
  const pid = Number(await readFile(join(directory, 'up'), 'utf8'))
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'exit'), [1, null])
  assert.equal(lives(pid), false)
})

test('what cannot be opened is a mistake in usage', (t) => {
  const directory = temporaryDirectory(t)
  for (const [url, code] of [
    ['exec:./nothing', 'COMMAND_MISSING'],
    ['./nothing.js', 'BAD_RENDEZVOUS'],
    ['nothing', 'BAD_RENDEZVOUS'],
  ] as const) {
    const { stderr, status } = plexus(directory, {}, 'rendezvous', 'test', url)
    assert.match(stderr, new RegExp(`\\[${code}\\]\n$`))
    assert.equal(status, 2)
  }
})

test('an error of a module keeps the code and the advice that it has, without a class of ours', async (t) => {
  const directory = temporaryDirectory(t)
  const source = `export function open() {
    const error = new Error('The server wants another password')
    throw Object.assign(error, { code: 'RENDEZVOUS_FOREIGN', advice: 'Ask its owner.' })
  }`
  writeFileSync(join(directory, 'strict.mjs'), source)
  const { stderr, status } = plexus(directory, {}, 'rendezvous', 'test', './strict.mjs')
  assert.equal(stderr, 'plexus: The server wants another password. Ask its owner. [RENDEZVOUS_FOREIGN]\n')
  assert.equal(status, 2)
})
