import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { type Clock, type Logger, silent } from '../../src/net/index.js'
import { SeenSessions } from '../../src/sealing/index.js'

let scratch = ''
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-seen-'))
})
after(() => rm(scratch, { recursive: true, force: true }))

const START = Date.UTC(2026, 10, 21)

/** A clock that stands until it is moved. */
class StandingClock implements Clock {
  at = START
  now(): number {
    return 0
  }
  date(): number {
    return this.at
  }
  timer(): () => void {
    return () => {}
  }
}

function recorder(): Logger & { warnings: string[] } {
  const warnings: string[] = []
  const log = { ...silent, warnings, warn: (_fields: object, message: string) => void warnings.push(message) }
  return { ...log, child: () => log }
}

const session = (number: number): Buffer => {
  const id = Buffer.alloc(16)
  id.writeUInt32BE(number, 12)
  return id
}

test('a session is seen until it expires, across restarts', async () => {
  const file = join(scratch, 'state', 'seen')
  const clock = new StandingClock()
  const log = recorder()
  const first = await SeenSessions.open(file, { clock, log })
  assert.equal(first.has(session(1)), false)
  const written = first.add(session(1), START + 1000)
  assert.equal(first.has(session(1)), true, 'at once')
  await written
  await first.add(session(2), START + 5000)
  await first.close()
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.equal((await stat(join(scratch, 'state'))).mode & 0o777, 0o700)

  const second = await SeenSessions.open(file, { clock, log })
  assert.equal(second.has(session(1)), true)
  assert.equal(second.has(session(2)), true)
  clock.at = START + 1000
  assert.equal(second.has(session(1)), false)
  await second.close()
  const third = await SeenSessions.open(file, { clock, log })
  assert.equal(third.has(session(1)), false)
  assert.equal(third.has(session(2)), true)
  await third.close()
  assert.equal((await readFile(file, 'latin1')).split('\n').length, 2, 'the expired one was dropped')
  assert.deepEqual(log.warnings, [])
})

test('a torn last record is skipped, wherever it was torn, and the next one is not lost with it', async () => {
  const file = join(scratch, 'torn')
  const clock = new StandingClock()
  const seen = await SeenSessions.open(file, { clock, log: silent })
  await seen.add(session(1), START + 1000)
  await seen.add(session(2), START + 1000)
  await seen.close()
  const whole = await readFile(file)
  for (let length = whole.length / 2 + 1; length < whole.length; length++) {
    await writeFile(file, whole)
    await truncate(file, length)
    const log = recorder()
    const again = await SeenSessions.open(file, { clock, log })
    assert.equal(again.has(session(1)), true)
    assert.equal(again.has(session(2)), false)
    assert.equal(log.warnings.length, 1)
    await again.add(session(3), START + 1000)
    await again.close()
    const last = await SeenSessions.open(file, { clock, log })
    assert.equal(last.has(session(1)), true)
    assert.equal(last.has(session(3)), true)
    assert.equal(log.warnings.length, 1, 'the torn record is gone')
    await last.close()
  }
})

test('what is no record is skipped', async () => {
  const file = join(scratch, 'foreign')
  const clock = new StandingClock()
  await writeFile(file, `${'ff'.repeat(16)} ${START + 1000}\nnonsense\n\0\0\0\n${'F'.repeat(32)} 1\n`)
  const log = recorder()
  const seen = await SeenSessions.open(file, { clock, log })
  assert.equal(seen.has(Buffer.alloc(16, 0xff)), true)
  assert.equal(log.warnings.length, 1)
  await seen.close()
})

test('a killed process has lost nothing that it had finished adding', async () => {
  const file = join(scratch, 'killed')
  const modules = ['../../src/sealing/index.js', '../../src/net/index.js'].map((path) =>
    JSON.stringify(new URL(path, import.meta.url).href),
  )
  const script = `
    import { SeenSessions } from ${modules[0]}
    import { silent } from ${modules[1]}
    const clock = { now: () => 0, date: () => ${START}, timer: () => () => {} }
    const seen = await SeenSessions.open(process.argv[1], { clock, log: silent })
    for (let number = 0; ; number++) {
      const id = Buffer.alloc(16)
      id.writeUInt32BE(number, 12)
      await seen.add(id, ${START + 1000})
      process.stdout.write(number + '\\n')
    }`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
    if (output.split('\n').length > 3000) child.kill('SIGKILL')
  })
  await once(child, 'close')
  const finished = output.split('\n').length - 1
  assert.ok(finished >= 3000)
  const seen = await SeenSessions.open(file, { clock: new StandingClock(), log: silent })
  for (let number = 0; number < finished; number++) assert.equal(seen.has(session(number)), true, `${number}`)
  await seen.close()
})

test('the file does not grow beyond what is alive', async () => {
  const file = join(scratch, 'grown')
  const clock = new StandingClock()
  const seen = await SeenSessions.open(file, { clock, log: silent })
  for (let number = 0; number < 10_000; number++) {
    clock.at = START + number
    void seen.add(session(number), START + number + 100)
  }
  await seen.close()
  assert.ok((await stat(file)).size < 3000 * 47, `${(await stat(file)).size} bytes`)
  const again = await SeenSessions.open(file, { clock, log: silent })
  for (let number = 9900; number < 10_000; number++) assert.equal(again.has(session(number)), true)
  assert.equal(again.has(session(9000)), false)
  await again.close()
  assert.deepEqual(
    (await readdir(scratch)).filter((name) => name.startsWith('grown')),
    ['grown'],
  )
})

test('when the disk is full a session is still remembered, a warning logged, and later ones are kept', async () => {
  // a child whose files may not grow beyond 1024 bytes gets EFBIG from the kernel, as it would get ENOSPC
  const modules = ['../../src/sealing/index.js', '../../src/net/index.js'].map((path) =>
    JSON.stringify(new URL(path, import.meta.url).href),
  )
  const script = `
    import { SeenSessions } from ${modules[0]}
    import { silent } from ${modules[1]}
    import { truncateSync } from 'node:fs'
    const clock = { now: () => 0, date: () => ${START}, timer: () => () => {} }
    let warnings = 0
    const log = { ...silent, warn: () => warnings++ }
    const seen = await SeenSessions.open(process.argv[1], { clock, log })
    const id = (number) => Buffer.alloc(16, number)
    for (let number = 0; number < 30; number++) await seen.add(id(number), ${START + 1000})
    const remembered = Array.from({ length: 30 }, (_, number) => seen.has(id(number))).every(Boolean)
    const full = warnings
    truncateSync(process.argv[1], 47)
    await seen.add(id(77), ${START + 1000})
    await seen.close()
    console.log(JSON.stringify({ remembered, full, after: warnings - full }))`
  const file = join(scratch, 'full')
  const shell = 'ulimit -f 1; exec "$0" --input-type=module -e "$1" "$2"'
  const child = spawnSync('bash', ['-c', shell, process.execPath, script, file], { encoding: 'utf8' })
  assert.equal(child.stderr, '')
  const result = JSON.parse(child.stdout)
  assert.equal(result.remembered, true)
  assert.ok(result.full > 0 && result.full <= 30)
  assert.equal(result.after, 0)
  const seen = await SeenSessions.open(file, { clock: new StandingClock(), log: silent })
  assert.equal(seen.has(Buffer.alloc(16, 0)), true)
  assert.equal(seen.has(Buffer.alloc(16, 77)), true)
  await seen.close()
})

test('a file that can be neither read nor written is refused by name', async () => {
  await appendFile(join(scratch, 'plain'), 'text')
  for (const file of [join(scratch, 'plain', 'seen'), scratch]) {
    await assert.rejects(
      SeenSessions.open(file, { clock: new StandingClock(), log: silent }),
      (error) =>
        error instanceof PlexusError && error.code === 'STATE_DIRECTORY' && error.message.includes(file),
    )
  }
})

test('an expiry beyond all bounds does not spoil the file', async () => {
  const file = join(scratch, 'far')
  const clock = new StandingClock()
  const id = randomBytes(16)
  const seen = await SeenSessions.open(file, { clock, log: silent })
  await seen.add(id, Number.MAX_VALUE)
  await seen.add(session(5), Number.NaN)
  await seen.add(session(6), -1)
  await seen.close()
  const again = await SeenSessions.open(file, { clock, log: silent })
  assert.equal(again.has(id), true)
  assert.equal(again.has(session(5)), false)
  assert.equal(again.has(session(6)), false)
  await again.close()
})

test('where there is a bound the first ones give way, across restarts too', async () => {
  const file = join(scratch, 'bounded')
  const options = { clock: new StandingClock(), log: silent, most: 3 }
  const first = await SeenSessions.open(file, options)
  for (const number of [1, 2, 3, 4]) await first.add(session(number), START + 1000)
  assert.deepEqual(
    [1, 2, 3, 4].map((number) => first.has(session(number))),
    [false, true, true, true],
  )
  await first.close()
  const second = await SeenSessions.open(file, options)
  await second.add(session(5), START + 1000)
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((number) => second.has(session(number))),
    [false, false, true, true, true],
  )
  await second.close()
})
