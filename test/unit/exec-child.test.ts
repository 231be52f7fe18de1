import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/cli/clock.js'
import { exitStatus, parseCommand, start } from '../../src/exec/index.js'
import type { Clock } from '../../src/net/index.js'
import { lives, PASSAGE, Stage } from './exec-stage.js'

/** Time that runs a hundred times as fast: a command that does not end is not waited for long. */
const hasty: Clock = {
  ...systemClock,
  now: () => systemClock.now() * 100,
  timer: (ms, callback) => systemClock.timer(ms / 100, callback),
}

/** Prints each argument in brackets. */
const ECHO = `for word; do printf '[%s]\\n' "$word"; done`

test('a value stays one word whatever it holds', async (t) => {
  const stage = new Stage(t)
  const command = stage.script('echo', ECHO)
  const owner = `a b\n"'\\ $(touch ${stage.path('x')}) \`touch ${stage.path('x')}\`; touch ${stage.path('x')}`
  const peerId = { owner, pin: '%peerip% * ~' }
  const child = await stage.start(
    { command, args: `-o=%peermail% '%peerpin%' ""`, log: stage.path('log') },
    { peerId },
  )
  assert.deepEqual(await child.exited, { code: 0, signal: null })
  assert.equal(stage.read('log'), `[-o=${owner}]\n[%peerip% * ~]\n[]\n`)
  assert.equal(existsSync(stage.path('x')), false)
})

test('a command without arguments of its own gets the six of plexus 3', async (t) => {
  const stage = new Stage(t)
  const child = await stage.start({ command: stage.script('echo', ECHO), log: stage.path('log') })
  await child.exited
  assert.equal(stage.read('log'), '[192.0.2.10]\n[4001]\n[198.51.100.20]\n[4002]\n[203.0.113.30]\n[4003]\n')
})

test('the exit is told as it was, and logged with its code or signal', async (t) => {
  const stage = new Stage(t)
  for (const [body, exit, status, said] of [
    ['exit 0', { code: 0, signal: null }, 0, 'with code 0'],
    ['exit 255', { code: 255, signal: null }, 255, 'with code 255'],
    ['kill -KILL $$', { code: null, signal: 'SIGKILL' }, 137, 'by SIGKILL'],
    ['kill -TERM $$', { code: null, signal: 'SIGTERM' }, 143, 'by SIGTERM'],
  ] as const) {
    const child = await stage.start({ command: stage.script('end', body) })
    assert.deepEqual(await child.exited, exit)
    assert.equal(exitStatus(await child.exited), status)
    const line = stage.lines.at(-1)
    assert.ok(line?.message.includes(said), line?.message)
    assert.equal(line?.level, status === 0 ? 'info' : 'warn')
  }
})

test('the command runs in --exec-pwd, and both its outputs are appended to --exec-log', async (t) => {
  const stage = new Stage(t)
  mkdirSync(stage.path('bob@example.com'))
  const command = stage.script('talk', 'pwd; echo problem >&2')
  const spec = { command, pwd: stage.path('%peermail%'), log: stage.path('%peerid%.log') }
  for (let time = 0; time < 2; time++) await (await stage.start(spec)).exited
  assert.equal(
    stage.read('bob@example.com_server.log'),
    `${stage.path('bob@example.com')}\nproblem\n`.repeat(2),
  )
  assert.equal(statSync(stage.path('bob@example.com_server.log')).mode & 0o777, 0o600)
})

test('a log that is a symbolic link and a directory that is missing are refused', async (t) => {
  const stage = new Stage(t)
  symlinkSync(stage.path('target'), stage.path('link'))
  await assert.rejects(stage.start({ command: 'true', log: stage.path('link') }), { code: 'EXEC_LOG' })
  assert.equal(existsSync(stage.path('target')), false)
  await assert.rejects(stage.start({ command: 'true', log: stage.path('no/log') }), { code: 'EXEC_LOG' })
  await assert.rejects(stage.start({ command: 'true', pwd: stage.path('%peerpin%') }), { code: 'EXEC_PWD' })
  assert.deepEqual(readdirSync(stage.directory), ['link'])
})

test('a command that vanished since start-up, or cannot take its arguments, is told and leaves no key', async (t) => {
  const stage = new Stage(t)
  const command = parseCommand({ command: 'true', args: '%peerpin%' }, stage)
  const options = { ...stage.base(), clock: systemClock }
  await assert.rejects(start({ ...command, file: stage.path('gone') }, PASSAGE, options), {
    code: 'COMMAND_MISSING',
  })
  const zero = { ...PASSAGE, peerId: { owner: 'a', pin: 'b\0c' } }
  await assert.rejects(start(command, zero, options), { code: 'COMMAND_MISSING' })
  const huge = { ...PASSAGE, peerId: { owner: 'a', pin: 'b'.repeat(1 << 20) } }
  await assert.rejects(start(command, huge, options), { code: 'COMMAND_MISSING' })
  assert.deepEqual(readdirSync(stage.directory), [])
})

test('the key is in a private file while the command runs, and gone afterwards', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const body = `[ "$1" = "$PLEXUS_KEY_FILE" ]; cat "$1" > ${stage.path('copy')}; echo "$1" > ${path}; exec sleep 1000`
  const child = await stage.start({ command: stage.script('read', body), args: '%keyfile%' })
  const file = (await told).trim()
  assert.equal(stage.read('copy'), `${PASSAGE.key.toString('base64')}\n`)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.equal(statSync(dirname(file)).mode & 0o777, 0o700)
  child.kill('SIGTERM')
  await child.exited
  assert.equal(existsSync(dirname(file)), false)
})

test('no secret is in the arguments, and none in the log', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const body = `echo "$PLEXUS_KEY $PLEXUS_SECRET" > ${path}; read -r never < ${path}`
  const args = '%inner% %outer% %alien% %qos% %hostid% %peerid% %hostcert% %hostkey% %peercert% %keyfile%'
  const child = await stage.start({ command: stage.script('wait', body), args, log: stage.path('log') })
  const secrets = (await told).trim().split(' ')
  assert.deepEqual(secrets, [PASSAGE.key.toString('base64'), String(PASSAGE.secret)])
  const seen = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8') + JSON.stringify(stage.lines)
  for (const secret of secrets) assert.equal(seen.includes(secret), false)
  await child.stop()
})

test('a command has the three standard descriptors, and none of this program', async (t) => {
  const stage = new Stage(t)
  const command = stage.script('list', 'ls /proc/$$/fd > "$1"')
  // what this process was born with is handed on by every spawn
  spawnSync(command, [stage.path('expected')], { stdio: 'ignore' })
  const child = await stage.start({ command, args: stage.path('found'), log: stage.path('log') })
  await child.exited
  assert.equal(stage.read('found'), stage.read('expected'))
})

test('starting commands leaks no descriptor', async (t) => {
  const stage = new Stage(t)
  const spec = { command: 'true', log: stage.path('log') }
  const round = async () => {
    await (await stage.start(spec)).exited
    await stage.start({ ...spec, detach: true })
    await assert.rejects(stage.start({ ...spec, pwd: stage.path('none') }))
  }
  await round()
  const before = readdirSync('/proc/self/fd').length
  for (let time = 0; time < 20; time++) await round()
  assert.equal(readdirSync('/proc/self/fd').length, before)
})

test('a stop ends the command and what it started', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const command = stage.script('parent', `sleep 1000 & echo $! > ${path}; wait`)
  const child = await stage.start({ command })
  const grandchild = Number(await told)
  assert.ok(lives(grandchild))
  await child.stop()
  assert.deepEqual(await child.exited, { code: null, signal: 'SIGTERM' })
  assert.equal(lives(grandchild), false)
})

test('what does not end when asked to is killed', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const command = stage.script('deaf', `trap '' TERM; sleep 1000 & echo ready > ${path}; wait; wait`)
  const child = await stage.start({ command }, {}, { clock: hasty })
  await told
  await child.stop()
  assert.deepEqual(await child.exited, { code: null, signal: 'SIGKILL' })
  assert.deepEqual(group(child.pid), [])
})

test('what a command leaves behind that was asked to end is killed too', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const deaf = `(trap '' TERM; echo ready > ${path}; exec sleep 1000) &`
  const command = stage.script('polite', `trap 'exit 5' INT; ${deaf} wait`)
  const child = await stage.start({ command }, {}, { clock: hasty })
  await told
  child.kill('SIGINT')
  assert.deepEqual(await child.exited, { code: 5, signal: null })
  assert.deepEqual(group(child.pid), [])
})

test('a signal is passed on, and the command may answer it as it likes', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const command = stage.script('answer', `trap 'exit 42' INT; echo ready > ${path}; sleep 1000 & wait`)
  const child = await stage.start({ command })
  await told
  child.kill('SIGINT')
  assert.deepEqual(await child.exited, { code: 42, signal: null })
  child.kill('SIGINT')
  await child.stop()
})

test('a signal that is passed on ends what the command runs in the background too', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const command = stage.script('leave', `trap 'exit 42' INT; sleep 1000 & echo $! > ${path}; wait`)
  const child = await stage.start({ command })
  const grandchild = Number(await told)
  child.kill('SIGINT')
  assert.deepEqual(await child.exited, { code: 42, signal: null })
  assert.equal(lives(grandchild), false)
})

test('what a command leaves behind that ends by itself is left alone', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const child = await stage.start({ command: stage.script('leave', `sleep 1000 & echo $! > ${path}`) })
  const grandchild = Number(await told)
  assert.deepEqual(await child.exited, { code: 0, signal: null })
  await child.stop()
  assert.ok(lives(grandchild))
  process.kill(grandchild)
})

test('an aborted signal stops the command, and keeps one from starting', async (t) => {
  const stage = new Stage(t)
  const controller = new AbortController()
  const child = await stage.start({ command: 'sleep', args: '1000' }, {}, { signal: controller.signal })
  controller.abort(new Error('over'))
  assert.deepEqual(await child.exited, { code: null, signal: 'SIGTERM' })
  const late = stage.start({ command: 'touch', args: stage.path('x') }, {}, { signal: controller.signal })
  await assert.rejects(late, { message: 'over' })
  assert.equal(existsSync(stage.path('x')), false)
})

test('a detached command is let go with its key, and nothing of it stays on the disk', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const command = stage.script('own', `cat "$1" > ${path}; echo $$ > ${stage.path('pid')}; exec sleep 1000`)
  const child = await stage.start({ command, args: '%keyfile%', detach: true })
  assert.deepEqual(await child.exited, { code: 0, signal: null })
  assert.equal(await told, `${PASSAGE.key.toString('base64')}\n`)
  await child.stop()
  assert.ok(lives(child.pid))
  process.kill(child.pid)
  assert.equal(
    readdirSync(stage.directory).some((name) => lstatSync(stage.path(name)).isDirectory()),
    false,
  )
})

/** The processes of a group, but for zombies that nobody has reaped yet. */
function group(leader: number): number[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,pgid=,stat='], { encoding: 'utf8' }).trim().split('\n')
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter(([, pgid, state]) => Number(pgid) === leader && !state?.startsWith('Z'))
    .map(([pid]) => Number(pid))
}

/** Runs a command in a program of its own, whose standard streams are pipes, and ends as the command did. */
function program(stage: Stage, role: string, body: string, detach = false) {
  const source = `
    import { parseCommand, start, exitStatus } from ${JSON.stringify(new URL('../../src/exec/index.js', import.meta.url).href)}
    import { systemClock as clock } from ${JSON.stringify(new URL('../../src/cli/clock.js', import.meta.url).href)}
    import { silent as log } from ${JSON.stringify(new URL('../../src/net/index.js', import.meta.url).href)}
    const env = ${JSON.stringify(stage.env)}
    const command = parseCommand({ command: ${JSON.stringify(stage.script('it', body))}, detach: ${detach} }, { env, log })
    const passage = ${JSON.stringify({ ...PASSAGE, secret: 0, key: '', role })}
    const values = { ...passage, secret: 7n, key: Buffer.alloc(32) }
    const child = await start(command, values, { clock, log, env })
    process.exitCode = exitStatus(await child.exited)`
  return spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    input: 'a line',
    encoding: 'utf8',
  })
}

test('the command of an inviter has the streams of its program, that of an accepter only standard error', (t) => {
  const stage = new Stage(t)
  const body = 'cat; echo " out"; echo problem >&2; exit 7'
  const inviter = program(stage, 'inviter', body)
  assert.deepEqual([inviter.stdout, inviter.stderr, inviter.status], ['a line out\n', 'problem\n', 7])
  const accepter = program(stage, 'accepter', body)
  assert.deepEqual([accepter.stdout, accepter.stderr, accepter.status], ['', ' out\nproblem\n', 7])
})

test('a program does not wait for its detached command', async (t) => {
  const stage = new Stage(t)
  const { path, told } = stage.pipe('told')
  const go = stage.fifo('go')
  const body = `exec > /dev/null 2>&1; read -r word < ${go}; echo "$word" > ${path}`
  const ended = program(stage, 'inviter', body, true)
  assert.equal(ended.status, 0, ended.stderr)
  await writeFile(go, 'on\n')
  assert.equal(await told, 'on\n')
})
