import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { parseEndpoint } from '../../src/net/index.js'
import { type PathEvent, publish, watch } from '../../src/watch/index.js'
import { MemoryLog } from '../support/log.js'

const MOVED: PathEvent = {
  name: 'moved',
  from: parseEndpoint('192.0.2.1:1000'),
  to: parseEndpoint('192.0.2.1:2000'),
}

test('what is published once is heard by everybody: the log, a watcher, and a stranger on the channel', () => {
  const log = new MemoryLog()
  const heard: unknown[] = []
  const onmessage = (message: unknown) => void heard.push(message)
  channel('plexus:path').subscribe(onmessage)
  const stop = watch('plexus:path', (told) => void heard.push(told))
  publish('plexus:path', { log }, () => MOVED)
  stop()
  channel('plexus:path').unsubscribe(onmessage)
  publish('plexus:path', { log }, () => MOVED)
  assert.equal(heard.length, 2)
  for (const one of heard) assert.deepEqual((one as { event: unknown }).event, MOVED)
  assert.equal(log.lines.filter((line) => line.includes('the address of the peer changed')).length, 2)
})

test('a watcher of one scope hears nothing of another', () => {
  const [mine, other] = [{}, {}]
  let heard = 0
  const stop = watch('plexus:path', () => heard++, mine)
  for (const scope of [mine, other]) publish('plexus:path', { log: new MemoryLog(), scope }, () => MOVED)
  publish('plexus:path', { log: new MemoryLog() }, () => MOVED)
  stop()
  assert.equal(heard, 1)
})

test('nothing is made for a channel that nobody listens to', () => {
  let made = 0
  const event = () => {
    made++
    return { name: 'failed', direction: 'in', service: 'web' } as const
  }
  publish('plexus:connection', { log: new MemoryLog() }, event)
  assert.equal(made, 0)
  const stop = watch('plexus:connection', () => {})
  publish('plexus:connection', { log: new MemoryLog() }, event)
  stop()
  publish('plexus:connection', { log: new MemoryLog() }, event)
  assert.equal(made, 1)
})

test('another copy of this package in the process writes no line into our log, nor we into its', () => {
  const log = new MemoryLog()
  const error = new PlexusError('TUNNEL_SILENT', 'Nobody was there.')
  channel('plexus:tunnel').publish({
    event: { name: 'silent', peer: '', error, closed: false },
    log,
    by: {},
  })
  assert.deepEqual(log.lines, [])
})
