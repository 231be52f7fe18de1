import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { conformanceChecks } from '../../rendezvous/conformance.js'
import { type Envelope, type Mailbox, openRendezvous, type Rendezvous } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { PlexusError } from '../../src/errors/index.js'
import { deadline } from '../../src/net/index.js'
import { goes, lives } from './exec-stage.js'
import { recorder, temporaryDirectory } from './rendezvous.js'

const IDENTITY: Mailbox = {
  kind: 'identity',
  app: 'vpn',
  identity: 'b@x/2',
  certificate: Buffer.alloc(32, 1),
}
const SESSION: Mailbox = { kind: 'session', app: 'vpn', identity: 'a@x/1', seed: Buffer.alloc(32, 2) }
const ENVELOPE: Envelope = {
  to: IDENTITY,
  from: 'a@x/1',
  session: Buffer.alloc(16, 0xab),
  expires: 1_800_000_000_999,
}

/** A command in a directory of its own, and what is opened on it. */
class Command {
  readonly directory: string
  readonly file: string
  readonly #t: TestContext
  readonly log = recorder()

  constructor(t: TestContext, body: string) {
    this.#t = t
    this.directory = temporaryDirectory(t)
    this.file = join(this.directory, 'command')
    this.write(body)
  }

  write(body: string): void {
    writeFileSync(this.file, `#!/bin/sh\n${body}\n`, { mode: 0o755 })
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  async open(options = '', url = `exec:${this.file}${options}`): Promise<Rendezvous> {
    const rendezvous = await openRendezvous([url], {
      clock: systemClock,
      random: systemRandom,
      log: this.log.log,
      stateDirectory: this.directory,
      options: {},
      environment: {
        PATH: process.env.PATH,
        PLEXUS_OPT_PASSWORD: 'hush',
        PLEXUS_FROM: 'stale',
        D: this.directory,
      },
    })
    this.#t.after(() => rendezvous.close())
    return rendezvous
  }

  /** Calls back at the next line of the log that matches. */
  when(pattern: RegExp, callback: () => void): void {
    const { lines } = this.log
    const push = lines.push.bind(lines)
    lines.push = (...added) => {
      if (added.some(({ message }) => pattern.test(message))) callback()
      return push(...added)
    }
  }

  said(level: string, pattern: RegExp): boolean {
    return this.log.lines.some((line) => line.level === level && pattern.test(line.message))
  }
}

const never = new AbortController().signal

/** The next message of a mailbox as text. */
async function next(messages: AsyncIterable<Uint8Array>): Promise<string> {
  for await (const message of messages) return Buffer.from(message).toString()
  return 'the end'
}

const base64 = (text: string) => Buffer.from(text).toString('base64')

const POST = `cat >"$D/.$PLEXUS_MESSAGE.$$" && mv "$D/.$PLEXUS_MESSAGE.$$" "$D/$PLEXUS_MAILBOX.$PLEXUS_MESSAGE" || exit 75`

for (const [kind, receive] of [
  ['waits and prints what comes', 'while :; do cat "$D/$PLEXUS_MAILBOX".*; sleep 0.1; done'],
  ['prints what is there and exits', 'cat "$D/$PLEXUS_MAILBOX".* || true'],
] as const) {
  test(`over a command that ${kind}`, async (t) => {
    for (const check of conformanceChecks()) {
      await t.test(check.name, async (t) => {
        const command = new Command(t, `case $1 in post) ${POST} ;; *) ${receive} ;; esac 2>/dev/null`)
        const inviter = await command.open('?poll=100&latency=1000')
        const accepter = await command.open('?poll=100&latency=1000')
        await check.run({ inviter, accepter, clock: systemClock, random: systemRandom })
      })
    }
  })
}

test('post is given the message on its input, and the envelope in its environment', async (t) => {
  const command = new Command(t, 'cat >"$D/input"; echo "$@" >"$D/words"; env >"$D/env"')
  const rendezvous = await command.open()
  await rendezvous.post(ENVELOPE, Buffer.from('sealed'), { signal: never })
  assert.equal(readFileSync(command.path('input'), 'utf8'), `${base64('sealed')}\n`)
  assert.equal(readFileSync(command.path('words'), 'utf8'), 'post\n')
  const env = readFileSync(command.path('env'), 'utf8').split('\n')
  for (const line of [
    'PLEXUS_MAILBOX_KIND=identity',
    'PLEXUS_TO=b@x/2',
    'PLEXUS_APP=vpn',
    'PLEXUS_FROM=a@x/1',
    `PLEXUS_SESSION=${'ab'.repeat(16)}`,
    'PLEXUS_EXPIRES=1800000000',
    `D=${command.directory}`,
  ]) {
    assert.ok(env.includes(line), line)
  }
  assert.match(env.join('\n'), /^PLEXUS_MAILBOX=[0-9a-f]{32}$/m)
  assert.match(env.join('\n'), /^PLEXUS_MESSAGE=[0-9a-f]{16}$/m)
  assert.doesNotMatch(env.join('\n'), /PLEXUS_OPT_|hush/)
})

test('receive is told the mailbox, and nothing of what only post knows', async (t) => {
  const command = new Command(t, `echo "$1 $PLEXUS_MAILBOX_KIND $PLEXUS_TO $PLEXUS_FROM." | base64; exec cat`)
  const rendezvous = await command.open()
  assert.equal(await next(rendezvous.receive(SESSION, { signal: never })), 'receive session a@x/1 .\n')
})

test('a passing error is tried again, until the message is left', async (t) => {
  const command = new Command(t, 'cat >/dev/null; [ -e "$D/tried" ] || { touch "$D/tried"; exit 75; }')
  const rendezvous = await command.open()
  await rendezvous.post(ENVELOPE, Buffer.from('x'), { signal: never })
  assert.ok(command.said('warn', /^posting failed, retrying: .+ exited with 75/))
})

test('a passing error that does not pass is the reason when the time is up', async (t) => {
  const command = new Command(t, 'echo "host is down" >&2; exit 75')
  const rendezvous = await command.open()
  const limit = new AbortController()
  command.when(/^posting failed/, () => limit.abort(new PlexusError('TIMEOUT', 'The time is up.')))
  await assert.rejects(rendezvous.post(ENVELOPE, Buffer.from('x'), { signal: limit.signal }), {
    code: 'RENDEZVOUS_UNREACHABLE',
    message: `${command.file} post exited with 75: host is down.`,
  })
})

test('any other error is permanent, and told with the last words', async (t) => {
  const command = new Command(t, 'echo "looking around" >&2; echo "no such account" >&2; exit 1')
  const rendezvous = await command.open()
  await assert.rejects(rendezvous.post(ENVELOPE, Buffer.from('x'), { signal: never }), {
    code: 'RENDEZVOUS_FOREIGN',
    message: `${command.file} post exited with 1: no such account.`,
  })
  assert.ok(command.said('debug', /^looking around$/))
})

test('a message that fits no line is not posted', async (t) => {
  const rendezvous = await new Command(t, 'exit 1').open()
  for (const size of [0, 49_153]) {
    await assert.rejects(rendezvous.post(ENVELOPE, Buffer.alloc(size), { signal: never }), {
      code: 'INTERNAL',
    })
  }
})

test('the largest message goes both ways, whatever the pieces that it is read in', async (t) => {
  const command = new Command(t, `case $1 in post) ${POST} ;; *) exec cat "$D/$PLEXUS_MAILBOX".* ;; esac`)
  const rendezvous = await command.open('?poll=100')
  const message = systemRandom(49_152)
  await rendezvous.post(ENVELOPE, message, { signal: never })
  const [received] = await first(rendezvous.receive(IDENTITY, { signal: never }))
  assert.ok(message.equals(received ?? Buffer.of()))
})

async function first(messages: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  for await (const message of messages) return [message]
  return []
}

test('what is no message is passed over, said once, and does no harm to the next', async (t) => {
  const junk = ['not base64', '', '====', 'YQ', `${'A'.repeat(70_000)}`, `${'Zm9v'.repeat(20_000)}`]
  const command = new Command(t, `cat "$D/junk"; exec cat`)
  writeFileSync(command.path('junk'), `${junk.join('\n')}\n\0\xff\n${base64('good')}\r\n`)
  const rendezvous = await command.open()
  assert.equal(await next(rendezvous.receive(IDENTITY, { signal: never })), 'good')
  const lines = command.log.lines.filter(({ message }) => /skipped$/.test(message))
  assert.equal(lines.filter(({ level }) => level === 'warn').length, 1)
  assert.ok(lines.length > 4)
})

test('what a command prints again and again is delivered once', async (t) => {
  const command = new Command(
    t,
    `echo ${base64('one')}; [ -e "$D/second" ] && echo ${base64('two')}; touch "$D/second"`,
  )
  const rendezvous = await command.open('?poll=50')
  const messages = rendezvous.receive(IDENTITY, { signal: never })[Symbol.asyncIterator]()
  const texts = [await messages.next(), await messages.next()].map(({ value }) =>
    String(Buffer.from(value ?? [])),
  )
  assert.deepEqual(texts, ['one', 'two'])
})

test('a receive that fails, or is killed, is run again', async (t) => {
  const command = new Command(
    t,
    `if [ ! -e "$D/1" ]; then touch "$D/1"; echo "lost the line" >&2; exit 3
     elif [ ! -e "$D/2" ]; then touch "$D/2"; kill -9 $$; fi
     echo ${base64('third time')}; exec cat`,
  )
  const rendezvous = await command.open()
  assert.equal(await next(rendezvous.receive(IDENTITY, { signal: never })), 'third time')
  assert.ok(command.said('warn', /^receiving failed, retrying$/))
})

test('it is ready when receive runs, not before', async (t) => {
  const command = new Command(t, 'exec cat')
  const rendezvous = await command.open()
  rmSync(command.file)
  const settled: string[] = []
  const ready = rendezvous.ready?.({ signal: never }).then(() => settled.push('ready'))
  const ended = new AbortController()
  const reading = next(rendezvous.receive(IDENTITY, { signal: ended.signal }))
  const early = deadline(systemClock, 100)
  await assert.rejects(rendezvous.ready?.({ signal: early.signal }) ?? Promise.resolve(), { code: 'TIMEOUT' })
  assert.deepEqual(settled, [])
  command.write('exec cat')
  await ready
  ended.abort()
  assert.equal(await reading, 'the end')
})

test('an abort ends the command and all that it started, even what does not listen', async (t) => {
  const command = new Command(
    t,
    `trap '' TERM
     sh -c 'trap "" TERM; while :; do sleep 1; done' &
     echo $! | base64; echo $$ | base64; while :; do sleep 1; done`,
  )
  const rendezvous = await command.open()
  const messages = rendezvous.receive(IDENTITY, { signal: never })[Symbol.asyncIterator]()
  const pids = [await messages.next(), await messages.next()].map(({ value }) =>
    Number(Buffer.from(value ?? [])),
  )
  assert.deepEqual(pids.filter(lives), pids)
  await rendezvous.close()
  assert.equal((await messages.next()).done, true)
  assert.deepEqual(await Promise.all(pids.map(goes)), [true, true])
})

test('what a post leaves running ends with it', async (t) => {
  const command = new Command(t, 'sleep 1000 & echo $! >"$D/child"')
  const rendezvous = await command.open()
  await rendezvous.post(ENVELOPE, Buffer.from('x'), { signal: never })
  assert.ok(await goes(Number(readFileSync(command.path('child'), 'utf8'))))
})

test('the input of receive ends when plexus is gone, however it went', async (t) => {
  const command = new Command(t, `echo ${base64('up')}; cat; echo over >"$D/over"`)
  const over = command.path('over')
  execFileSync('mkfifo', [over])
  const module = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href)
  const program = `
    import { openRendezvous } from ${module('rendezvous/index.js')}
    import { systemClock as clock, systemRandom as random } from ${module('src/cli/clock.js')}
    import { silent as log } from ${module('src/net/index.js')}
    const environment = { PATH: process.env.PATH, D: ${JSON.stringify(command.directory)} }
    const context = { clock, random, log, stateDirectory: '', options: {}, environment }
    const rendezvous = await openRendezvous([${JSON.stringify(`exec:${command.file}`)}], context)
    const mailbox = { kind: 'session', app: 'a', identity: 'a/1', seed: Buffer.alloc(32) }
    const { signal } = new AbortController()
    for await (const _ of rendezvous.receive(mailbox, { signal })) process.kill(process.pid, 'SIGKILL')`
  execFile(process.execPath, ['--input-type=module', '-e', program])
  assert.equal(await readFile(over, 'utf8'), 'over\n')
})

test('a command is found in PATH, beside us, or by its path, and must be one', async (t) => {
  const command = new Command(t, 'exit 0')
  const fails = (url: string, code: string) =>
    assert.rejects(
      () => command.open('', url),
      (thrown) => thrown instanceof PlexusError && thrown.code === code && thrown.exitCode === 2,
      url,
    )
  assert.equal((await command.open('', 'exec:true')).name, 'exec:true')
  mkdirSync(command.path('folder'))
  await fails(`exec:${command.path('folder')}`, 'COMMAND_MISSING')
  await fails('exec:no-such-command', 'COMMAND_MISSING')
  await fails('exec:./no-such-command', 'COMMAND_MISSING')
  chmodSync(command.file, 0o644)
  await fails(`exec:${command.file}`, 'COMMAND_MISSING')
  chmodSync(command.file, 0o755)
  for (const url of ['exec:', 'exec://host/path', 'exec:true%', 'exec:true#x', 'exec:true?latency=soon']) {
    await fails(url, 'BAD_RENDEZVOUS')
  }
  await fails('exec:true?lateness=4', 'BAD_RENDEZVOUS')
  await fails('exec:true?poll=0', 'BAD_RENDEZVOUS')
  assert.equal((await command.open('?latency=30000')).latency, 30_000)
})

const root = process.getuid?.() === 0
test('no command runs that others could replace', { skip: !root && 'this is not root' }, async (t) => {
  const command = new Command(t, 'exit 0')
  chmodSync(command.file, 0o757)
  await assert.rejects(() => command.open(), { code: 'COMMAND_WRITABLE', message: /by everybody/ })
  chmodSync(command.file, 0o775)
  await command.open() // its group is root's own
  chownSync(command.file, 0, 12_345)
  await assert.rejects(() => command.open(), { code: 'COMMAND_WRITABLE', message: /by its group/ })
  chownSync(command.file, 0, 0)
  chmodSync(command.file, 0o755)
  await command.open()
  chmodSync(command.directory, 0o777)
  await assert.rejects(() => command.open(), { code: 'COMMAND_WRITABLE' })
  chmodSync(command.directory, 0o1777)
  await command.open()
  chownSync(command.file, 1, 1)
  await assert.rejects(() => command.open(), { code: 'COMMAND_WRITABLE' })
})
