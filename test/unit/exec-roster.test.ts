import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Child, type Exit, Roster } from '../../src/exec/index.js'
import { silent } from '../../src/net/index.js'
import { lives, Stage } from './exec-stage.js'

const bob = { owner: 'bob@example.com', pin: 'server' }
const carol = { owner: 'carol@example.com', pin: 'server' }

/** A command in memory: it takes as long to stop as the test wants it to. */
class Virtual implements Child {
  readonly pid = 1
  readonly exited: Promise<Exit>
  state: 'running' | 'asked' | 'gone' = 'running'
  end!: () => void

  constructor() {
    this.exited = new Promise((resolve) => {
      this.end = () => {
        this.state = 'gone'
        resolve({ code: 0, signal: null })
      }
    })
  }

  kill(): void {}

  async stop(): Promise<void> {
    if (this.state === 'running') this.state = 'asked'
    await this.exited
  }
}

/** Lets everything that is ready to go on do so. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

test('replace: the new command starts only when the old one is gone', async () => {
  const roster = new Roster('replace', { log: silent })
  const first = new Virtual()
  const second = new Virtual()
  await roster.run(bob, async () => first)
  assert.ok(roster.mayPair(bob))
  let started = false
  const replaced = roster.run(bob, async () => {
    started = true
    return second
  })
  await settle()
  assert.deepEqual([first.state, started], ['asked', false])
  first.end()
  assert.equal(await replaced, second)
  second.end()
  await settle()
  assert.equal(roster.size, 0)
})

test('replace: of several that wait for the old one, the newest starts', async () => {
  const roster = new Roster('replace', { log: silent })
  const first = new Virtual()
  const third = new Virtual()
  await roster.run(bob, async () => first)
  const second = roster.run(bob, () => assert.fail('the second starts'))
  const last = roster.run(bob, async () => third)
  first.end()
  await assert.rejects(second, { code: 'CANCELLED' })
  assert.equal(await last, third)
  assert.equal(roster.size, 1)
})

test('replace: a command that is just being started is ended too', async () => {
  const roster = new Roster('replace', { log: silent })
  const first = new Virtual()
  const second = new Virtual()
  let go = () => {}
  const slow = roster.run(bob, async () => {
    await new Promise<void>((resolve) => {
      go = resolve
    })
    return first
  })
  const replaced = roster.run(bob, async () => second)
  go()
  await settle()
  assert.equal(first.state, 'asked')
  first.end()
  await assert.rejects(slow, { code: 'CANCELLED' })
  assert.equal(await replaced, second)
})

test('replace: other peers are left alone', async () => {
  const roster = new Roster('replace', { log: silent })
  const first = new Virtual()
  await roster.run(bob, async () => first)
  await roster.run(carol, async () => new Virtual())
  assert.deepEqual([first.state, roster.size], ['running', 2])
})

test('parallel: commands run side by side', async () => {
  const roster = new Roster('parallel', { log: silent })
  const children = [new Virtual(), new Virtual()]
  for (const child of children) await roster.run(bob, async () => child)
  assert.deepEqual([children[0]?.state, roster.size, roster.mayPair(bob)], ['running', 2, true])
})

test('parallel: one identity has 64 at most, and takes nothing from another', async () => {
  const roster = new Roster('parallel', { log: silent })
  while (roster.mayPair(bob)) await roster.run(bob, async () => new Virtual())
  assert.deepEqual([roster.size, roster.mayPair(carol)], [64, true])
})

test('refuse: a peer may pair again when its command has ended', async () => {
  const roster = new Roster('refuse', { log: silent })
  const first = new Virtual()
  const starting = roster.run(bob, async () => first)
  assert.equal(roster.mayPair(bob), false)
  assert.ok(roster.mayPair(carol))
  await starting
  await assert.rejects(
    roster.run(bob, async () => new Virtual()),
    { code: 'BUSY' },
  )
  first.end()
  await settle()
  assert.ok(roster.mayPair(bob))
})

test('a command that does not start leaves no trace', async () => {
  const roster = new Roster('refuse', { log: silent })
  const failure = new Error('no')
  await assert.rejects(
    roster.run(bob, () => Promise.reject(failure)),
    failure,
  )
  assert.ok(roster.mayPair(bob))
  assert.equal(roster.size, 0)
})

test('closing ends every command and lets no other start', async (t) => {
  const stage = new Stage(t)
  const roster = new Roster('parallel', { log: silent })
  const children = await Promise.all(
    [bob, bob, carol].map((peer) => roster.run(peer, () => stage.start({ command: 'sleep', args: '1000' }))),
  )
  await roster.close()
  for (const child of children) assert.deepEqual(await child.exited, { code: null, signal: 'SIGTERM' })
  assert.equal(roster.size, 0)
  assert.equal(roster.mayPair(bob), false)
  await assert.rejects(
    roster.run(bob, () => assert.fail('it starts')),
    { code: 'CANCELLED' },
  )
})

test('replace works on real commands', async (t) => {
  const stage = new Stage(t)
  const roster = new Roster('replace', { log: silent })
  const launch = (signal: AbortSignal) => stage.start({ command: 'sleep', args: '1000' }, {}, { signal })
  const first = await roster.run(bob, launch)
  const second = await roster.run(bob, launch)
  assert.deepEqual(await first.exited, { code: null, signal: 'SIGTERM' })
  assert.equal(lives(first.pid), false)
  assert.ok(process.kill(second.pid, 0))
  await roster.close()
})
